//! The second and the third pass: what is revoked, and where the last content of every other block lies.

use std::collections::HashMap;

use super::block::{Kind, is_sound, revoked};
use super::error::JournalError;
use super::log::{Cursor, Log};
use super::replay::{Place, Replay};
use super::scan;
use super::superblock::{JournalSuperblock, ensure};
use crate::source::ReadAt;

/// So many blocks may have something in the journal: those of 1 GiB, with blocks of 4 KiB, which is as long as mke2fs makes one. They take
/// 20 MiB while the journal is read, and 3 MiB afterwards.
const MOST_BLOCKS: usize = 1 << 18;
/// Of a fast commit: the kernel's `EXT4_FC_TAG_HEAD`, and how long that is.
const HEAD: [u8; 4] = [9, 0, 8, 0];

/// What is known of a block that has something in the journal.
#[derive(Debug, Clone, Copy, Default)]
struct Fate {
    /// The last transaction that said that what it and earlier ones have of the block does not count.
    revoked: Option<u32>,
    /// Where its content lies.
    place: Option<(u32, bool)>,
}

/// Reads the journal `log`, which has room for `room` blocks of `block_size` bytes, of a file system with `blocks` blocks.
///
/// # Errors
/// It is not sound, or uses something that is not understood.
pub fn recover(log: &dyn ReadAt, room: u64, block_size: u32, blocks: u64) -> Result<Replay, JournalError> {
    let (sb, _) = JournalSuperblock::read(log, room, block_size)?;
    if sb.start == 0 {
        return Ok(Replay::of(Vec::new(), sb.sequence, sb.sequence));
    }
    let log = Log::new(log, &sb);
    let end = scan::end_of(&log)?;
    replay(&log, end, blocks)
}

/// All that transactions before `end` have written.
fn replay(log: &Log<'_>, end: u32, blocks: u64) -> Result<Replay, JournalError> {
    refuse_fast_commits(log, end)?;
    let mut fates = described(log, end, blocks)?;
    revoke(log, end, &mut fates)?;
    place(log, end, &mut fates)?;
    let places = fates.into_iter().filter_map(|(block, fate)| {
        let (at, is_escaped) = fate.place?;
        Some(Place { block, at, is_escaped })
    });
    Ok(Replay::of(places.collect(), log.sb.sequence, end))
}

/// What was committed fast, behind the last transaction, is told in words of ext4's own.
fn refuse_fast_commits(log: &Log<'_>, end: u32) -> Result<(), JournalError> {
    let Some(first) = log.sb.fast_commits else { return Ok(()) };
    let block = log.block(first)?;
    let of_this_log = block.starts_with(&HEAD) && block.get(8..12) == Some(&end.to_le_bytes()[..]);
    match of_this_log {
        true => Err(JournalError::Unsupported("fast commits that were not replayed".into())),
        false => Ok(()),
    }
}

/// The blocks that any descriptor names. Only these can be revoked to any effect, so that no more need be remembered.
fn described(log: &Log<'_>, end: u32, blocks: u64) -> Result<HashMap<u64, Fate>, JournalError> {
    let mut fates = HashMap::new();
    each(log, end, |kind, block, cursor| {
        if kind == Kind::Descriptor {
            for (tag, _) in log.described(block, cursor)? {
                ensure(tag.block < blocks, "has a block that the file system does not have")?;
                fates.entry(tag.block).or_default();
            }
        }
        if fates.len() > MOST_BLOCKS {
            return Err(JournalError::Unsupported(format!(
                "a journal with more than {MOST_BLOCKS} blocks to be replayed"
            )));
        }
        Ok(())
    })?;
    Ok(fates)
}

fn revoke(log: &Log<'_>, end: u32, fates: &mut HashMap<u64, Fate>) -> Result<(), JournalError> {
    each(log, end, |kind, block, cursor| {
        match kind {
            Kind::Descriptor => drop(log.described(block, cursor)?),
            Kind::Revoke => {
                for number in revoked(block, log.sb)? {
                    // Transactions come in order, so that the last one to say so is the youngest.
                    if let Some(fate) = fates.get_mut(&number) {
                        fate.revoked = Some(cursor.sequence);
                    }
                }
            }
            Kind::Commit => {}
        }
        Ok(())
    })
}

fn place(log: &Log<'_>, end: u32, fates: &mut HashMap<u64, Fate>) -> Result<(), JournalError> {
    each(log, end, |kind, block, cursor| {
        if kind != Kind::Descriptor {
            return Ok(());
        }
        ensure(is_sound(block, log.sb), "has a descriptor with a wrong checksum")?;
        for (tag, at) in log.described(block, cursor)? {
            let Some(fate) = fates.get_mut(&tag.block) else { continue };
            let counts = |revoked: u32| cursor.sequence.wrapping_sub(revoked).cast_signed() > 0;
            if !fate.revoked.is_none_or(counts) {
                continue;
            }
            if log.sb.has_block_checksums() {
                ensure(tag.is_sound(&log.block(at)?, cursor.sequence, log.sb), "has a block with a wrong checksum")?;
            }
            fate.place = Some((at, tag.is_escaped));
        }
        Ok(())
    })
}

/// Calls `visit` with each block of the log's own before transaction `end`. For a descriptor the cursor must be moved behind what it
/// describes.
fn each(
    log: &Log<'_>,
    end: u32,
    mut visit: impl FnMut(Kind, &[u8], &mut Cursor) -> Result<(), JournalError>,
) -> Result<(), JournalError> {
    let mut cursor = log.start();
    while cursor.sequence != end {
        let Some((kind, block)) = log.step(&mut cursor)? else {
            return Err(JournalError::Corrupt("changed while it was read"));
        };
        visit(kind, &block, &mut cursor)?;
        if kind == Kind::Commit {
            cursor.sequence = cursor.sequence.wrapping_add(1);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: usize = 1024;
    const DESCRIPTOR: u32 = 1;
    const COMMIT: u32 = 2;
    const REVOKE: u32 = 5;

    /// A journal of 32 blocks, of which the log has 31.
    struct Made {
        blocks: Vec<[u8; BLOCK]>,
        at: usize,
    }

    impl Made {
        /// A log that begins at block `at` with transaction `sequence`.
        fn new(at: u32, sequence: u32) -> Self {
            let mut made = Self { blocks: vec![[0; BLOCK]; 32], at: at as usize };
            let words = [0xC03B_3998, 4, 0, BLOCK as u32, 32, 1, sequence, at, 0, 0, 1];
            made.blocks[0] = words_of(&words);
            made
        }

        fn add(&mut self, block: [u8; BLOCK]) -> &mut Self {
            self.blocks[self.at] = block;
            self.at = if self.at == 31 { 1 } else { self.at + 1 };
            self
        }

        fn own(&mut self, kind: u32, sequence: u32, rest: &[u32]) -> &mut Self {
            self.add(words_of(&[&[0xC03B_3998, kind, sequence], rest].concat()))
        }

        /// A descriptor, and what it describes: a byte for each block.
        fn describe(&mut self, sequence: u32, blocks: &[(u32, u8)]) -> &mut Self {
            let last = blocks.len() - 1;
            let tags: Vec<u32> = blocks
                .iter()
                .enumerate()
                .flat_map(|(i, (block, _))| [*block, if i == last { 0xA } else { 2 }])
                .collect();
            self.own(DESCRIPTOR, sequence, &tags);
            for (_, byte) in blocks {
                self.add([*byte; BLOCK]);
            }
            self
        }

        fn commit(&mut self, sequence: u32) -> &mut Self {
            self.own(COMMIT, sequence, &[])
        }

        fn revoke(&mut self, sequence: u32, blocks: &[u32]) -> &mut Self {
            self.own(REVOKE, sequence, &[&[16 + 4 * blocks.len() as u32], blocks].concat())
        }

        /// For each block that is replayed its number and a byte of its content.
        fn seen(&self) -> Result<Vec<(u64, u8)>, String> {
            let bytes = self.blocks.concat();
            let replay = recover(&bytes, 32, BLOCK as u32, 100).map_err(|error| error.to_string())?;
            let places = std::iter::successors(replay.next_from(0), |place| replay.next_from(place.block + 1));
            Ok(places.map(|place| (place.block, self.blocks[place.at as usize][7])).collect())
        }
    }

    fn words_of(words: &[u32]) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        for (to, word) in block.chunks_mut(4).zip(words) {
            to.copy_from_slice(&word.to_be_bytes());
        }
        block
    }

    #[test]
    fn what_was_committed_last_counts() {
        let mut log = Made::new(1, 7);
        log.describe(7, &[(50, 1), (60, 2)]).commit(7).describe(8, &[(50, 3)]).commit(8);
        assert_eq!(log.seen().unwrap(), [(50, 3), (60, 2)]);
        // The next one has no commit block, or is left from an earlier round.
        assert_eq!(log.describe(9, &[(60, 4)]).seen().unwrap(), [(50, 3), (60, 2)]);
        assert_eq!(log.commit(3).seen().unwrap(), [(50, 3), (60, 2)]);
    }

    #[test]
    fn what_is_revoked_counts_only_where_it_is_written_later() {
        let mut log = Made::new(1, 7);
        log.describe(7, &[(50, 1), (60, 2), (70, 3)]).commit(7);
        log.revoke(8, &[50, 60]).describe(8, &[(50, 4)]).commit(8).describe(9, &[(60, 5)]).commit(9);
        assert_eq!(log.seen().unwrap(), [(60, 5), (70, 3)]);
    }

    #[test]
    fn a_log_goes_around_and_numbers_too() {
        let mut log = Made::new(29, u32::MAX);
        log.describe(u32::MAX, &[(50, 1), (60, 2)]).commit(u32::MAX).describe(0, &[(60, 3)]).revoke(0, &[50]).commit(0);
        assert_eq!(log.seen().unwrap(), [(60, 3)]);
        assert_eq!(log.at, 6);
    }

    #[test]
    fn what_no_kernel_writes_is_refused() {
        let refused = |log: &Made| log.seen().unwrap_err();
        let mut endless = Made::new(1, 7);
        for _ in 0..31 {
            endless.own(REVOKE, 7, &[16]);
        }
        assert_eq!(refused(&endless), "its journal goes in circles");
        let mut outside = Made::new(1, 7);
        outside.describe(7, &[(100, 1)]).commit(7);
        assert_eq!(refused(&outside), "its journal has a block that the file system does not have");
        assert_eq!(refused(&Made::new(32, 7)), "its journal begins outside of itself");
        let mut long = Made::new(1, 7);
        long.own(REVOKE, 7, &[2000]).describe(7, &[(9, 1)]).commit(7);
        assert_eq!(refused(&long), "its journal has a revoke block that is longer than a block");
    }

    /// A journal that nobody would have room for: descriptors of 126 blocks each, from its start to its end.
    struct Endless;

    const LENGTH: u32 = 300_000;

    impl ReadAt for Endless {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<usize> {
            let block = (offset / BLOCK as u64) as u32;
            let first = block.saturating_sub(1) / 127 * 126;
            let tags = (0..126).flat_map(|i| [first + i, if i == 125 { 0xA } else { 2 }]);
            let words: Vec<u32> = match block {
                0 => vec![0xC03B_3998, 4, 0, BLOCK as u32, LENGTH, 1, 7, 1, 0, 0, 1],
                _ if block == LENGTH / 127 * 127 + 1 => vec![0xC03B_3998, COMMIT, 7],
                _ if block % 127 == 1 => [0xC03B_3998, DESCRIPTOR, 7].into_iter().chain(tags).collect(),
                _ => Vec::new(),
            };
            words_of(&words).as_slice().read_at(buf, offset % BLOCK as u64)
        }
    }

    #[test]
    fn what_is_kept_of_a_journal_is_bounded() {
        let refused = recover(&Endless, LENGTH.into(), BLOCK as u32, 1 << 30).unwrap_err().to_string();
        assert_eq!(refused, "a journal with more than 262144 blocks to be replayed");
    }

    #[test]
    fn an_empty_log_has_nothing_to_say() {
        assert_eq!(Made::new(0, 7).seen().unwrap(), []);
        assert_eq!(Made::new(5, 7).seen().unwrap(), []);
    }
}
