//! Blocks of a log that is written as ext3 has it: block numbers of 32 bits, no checksums.

use std::time::Duration;

use super::block::{ESCAPED, LAST_TAG, REVOKE_HEADER, SAME_UUID, UUID};
use super::replay::Place;
use super::superblock::MAGIC;

const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const REVOKE: u32 = 5;
const HEADER: usize = 12;
const TAG: usize = 8;
const NUMBER: usize = 4;
/// Where a commit block tells the time.
const COMMIT_TIME: usize = 48;

/// Whether the log must have something else in place of the first four bytes of this block.
#[must_use]
pub fn must_escape(content: &[u8]) -> bool {
    content.starts_with(&Place::ESCAPED)
}

/// How many blocks a descriptor can describe.
#[must_use]
pub fn tags_per_descriptor(block_size: usize) -> usize {
    block_size.saturating_sub(HEADER + UUID) / TAG
}

/// How many blocks a revoke block can name.
#[must_use]
pub fn numbers_per_revoke(block_size: usize) -> usize {
    block_size.saturating_sub(REVOKE_HEADER) / NUMBER
}

/// The descriptor of the blocks that follow it; with each whether it is escaped. Only the first tag has the journal's UUID, as the kernel
/// writes it.
#[must_use]
pub fn descriptor(block_size: usize, sequence: u32, uuid: &[u8; 16], blocks: &[(u32, bool)]) -> Vec<u8> {
    let mut bytes = header(block_size, DESCRIPTOR, sequence);
    for (index, (block, is_escaped)) in blocks.iter().enumerate() {
        let flag = |is_set: bool, flag: u16| if is_set { flag } else { 0 };
        let flags = flag(*is_escaped, ESCAPED) | flag(index > 0, SAME_UUID) | flag(index + 1 == blocks.len(), LAST_TAG);
        bytes.extend_from_slice(&block.to_be_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&flags.to_be_bytes());
        if index == 0 {
            bytes.extend_from_slice(uuid);
        }
    }
    bytes.resize(block_size, 0);
    bytes
}

/// A block that says which blocks of this and of earlier transactions do not count.
#[must_use]
pub fn revoke(block_size: usize, sequence: u32, blocks: &[u32]) -> Vec<u8> {
    let mut bytes = header(block_size, REVOKE, sequence);
    let used = u32::try_from(REVOKE_HEADER + blocks.len() * NUMBER).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&used.to_be_bytes());
    blocks.iter().for_each(|block| bytes.extend_from_slice(&block.to_be_bytes()));
    bytes.resize(block_size, 0);
    bytes
}

/// The block that ends a transaction, with the time since 1970.
#[must_use]
pub fn commit(block_size: usize, sequence: u32, time: Duration) -> Vec<u8> {
    let mut bytes = header(block_size, COMMIT, sequence);
    bytes.resize(COMMIT_TIME, 0);
    bytes.extend_from_slice(&time.as_secs().to_be_bytes());
    bytes.extend_from_slice(&time.subsec_nanos().to_be_bytes());
    bytes.resize(block_size, 0);
    bytes
}

fn header(block_size: usize, kind: u32, sequence: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(block_size);
    for word in [MAGIC, kind, sequence] {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::recover;
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        const BLOCK: usize = 1024;
        let words = [MAGIC, 4, 0, BLOCK as u32, 1100, 1, 7, 1, 0, 0, 1];
        let mut log: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_be_bytes()).collect();
        log.resize(BLOCK, 0);
        let most = tags_per_descriptor(BLOCK);
        assert_eq!((most, numbers_per_revoke(BLOCK)), (124, 252));
        let blocks: Vec<(u32, bool)> = (0..most as u32).map(|i| (1000 + i, i == 3)).collect();
        log.extend(descriptor(BLOCK, 7, &[9; 16], &blocks));
        log.extend(blocks.iter().flat_map(|(block, _)| vec![*block as u8; BLOCK]));
        log.extend(commit(BLOCK, 7, Duration::new(5, 6)));
        let revoked: Vec<u32> = (0..numbers_per_revoke(BLOCK) as u32).map(|i| 1002 + 2 * i).collect();
        log.extend(revoke(BLOCK, 8, &revoked));
        log.extend(commit(BLOCK, 8, Duration::new(5, 7)));
        log.resize(1100 * BLOCK, 0);
        let replay = recover(&log, 1100, BLOCK as u32, 2000).unwrap();
        assert_eq!((replay.transactions, replay.next_sequence, replay.len()), (2, 10, 63));
        assert_eq!(replay.next_from(1002), Some(Place { block: 1003, at: 5, is_escaped: true }));
        assert!(must_escape(&MAGIC.to_be_bytes()) && !must_escape(&[0xC0, 0x3B, 0x39]));
    }
}
