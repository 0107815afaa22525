//! Who reads and who writes the content of a file: one lock for each, or for a few that share one by chance.

use parking_lot::RwLock;

const LOCKS: u32 = 256;

/// The locks of all files' content; taken before the store's.
#[derive(Debug)]
pub(crate) struct ContentLocks {
    locks: Vec<RwLock<()>>,
    other: RwLock<()>,
}

impl ContentLocks {
    pub(crate) fn new() -> Self {
        Self { locks: (0..LOCKS).map(|_| RwLock::new(())).collect(), other: RwLock::new(()) }
    }

    pub(crate) fn of(&self, ino: u32) -> &RwLock<()> {
        self.locks.get((ino % LOCKS) as usize).unwrap_or(&self.other)
    }
}
