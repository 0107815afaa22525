//! Which orphan stands before which in the list on the disk. A hint: after a change that has never been it may be wrong, so whoever asks
//! looks whether it is so, and goes through the list if not. Of an inode of which nothing was ever noted it is certain that it stands behind
//! no other.

use std::collections::HashMap;

/// More are not remembered.
const MOST: usize = 1 << 16;

/// The one before, of each that is known.
#[derive(Debug, Default)]
pub(crate) struct OrphanHints {
    before: HashMap<u32, u32>,
    is_full: bool,
}

impl OrphanHints {
    /// The inode that may stand before `ino`.
    pub(crate) fn before(&self, ino: u32) -> Option<u32> {
        self.before.get(&ino).copied()
    }

    /// Whether `ino` can stand behind another one.
    pub(crate) fn may_follow(&self, ino: u32) -> bool {
        self.is_full || self.before.contains_key(&ino)
    }

    /// Notes that `before` stands before `ino`.
    pub(crate) fn note(&mut self, ino: u32, before: u32) {
        self.is_full |= self.before.len() >= MOST;
        if !self.is_full || self.before.contains_key(&ino) {
            self.before.insert(ino, before);
        }
    }

    /// There is no list.
    pub(crate) fn forget_if_full(&mut self) {
        if self.before.len() >= MOST {
            *self = Self::default();
        }
    }
}
