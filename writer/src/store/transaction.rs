//! What counts together after a crash, or not at all.

use std::time::Instant;

use condatainer_formats::jbd2::encode::{numbers_per_revoke, tags_per_descriptor};
use rustc_hash::{FxHashMap, FxHashSet};

use super::bytes::Bytes;

/// So much may be changed in one transaction, in bytes: all of it is in memory, twice for a moment.
const MOST: usize = 16 << 20;

/// Changes of metadata.
#[derive(Debug, Default, Clone)]
pub(crate) struct Transaction {
    /// Its number, which rises by one.
    pub(crate) tid: u32,
    /// What its blocks will say.
    pub(crate) blocks: FxHashMap<u64, Bytes>,
    /// Blocks whose copies in earlier transactions do not count any more.
    pub(crate) revoked: FxHashSet<u64>,
    /// Inodes that it has changed, and perhaps others; with each whether that matters to who asks for its data only.
    pub(crate) inodes: FxHashMap<u32, bool>,
    /// When it was changed for the first and for the last time.
    pub(crate) changed: Option<(Instant, Instant)>,
}

/// How large a transaction may be, in blocks of the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Nothing new is begun that could make it larger.
    pub(crate) soft: usize,
    /// Nothing may make it larger.
    pub(crate) hard: usize,
}

impl Limits {
    /// Without a log.
    #[cfg(test)]
    pub(crate) const NONE: Self = Self { soft: usize::MAX, hard: usize::MAX };

    /// Of a log of so many blocks: a quarter as for the kernel, and never more than half, because the one before may take the other.
    pub(crate) fn of_log(blocks: usize, block_size: usize) -> Self {
        let soft = (blocks / 4).min(MOST / block_size);
        Self { soft, hard: (blocks / 2).saturating_sub(8) }
    }
}

impl Transaction {
    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.is_empty() && self.revoked.is_empty()
    }

    /// Whether who asks for an inode, or for its data only, has to wait for it.
    pub(super) fn has(&self, ino: u32, only_data: bool) -> bool {
        self.inodes.get(&ino).is_some_and(|matters_to_data| *matters_to_data || !only_data)
    }

    /// How many blocks of the log it takes.
    pub(crate) fn log_blocks(&self, block_size: usize) -> usize {
        let descriptors = self.blocks.len().div_ceil(tags_per_descriptor(block_size).max(1));
        let revokes = self.revoked.len().div_ceil(numbers_per_revoke(block_size).max(1));
        self.blocks.len() + descriptors + revokes + 1
    }
}
