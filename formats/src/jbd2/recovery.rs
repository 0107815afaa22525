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
    let sb = JournalSuperblock::read(log, room, block_size)?;
    if sb.start == 0 {
        return Ok(Replay::default());
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
    Ok(Replay::of(places.collect(), end.wrapping_sub(log.sb.sequence)))
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
