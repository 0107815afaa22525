//! Who still uses an inode: the kernel, as often as it was given it. What has no name any more lives until nobody uses it.

use std::collections::HashMap;

use parking_lot::Mutex;

/// How often each inode is in use; locked after the store, or alone.
#[derive(Debug, Default)]
pub(super) struct Users(Mutex<HashMap<u32, u64>>);

impl Users {
    /// One more of it.
    pub(super) fn add(&self, ino: u32) {
        let mut users = self.0.lock();
        let count = users.entry(ino).or_insert(0);
        *count = count.saturating_add(1);
    }

    /// `count` fewer of it; returns whether that was the last.
    pub(super) fn remove(&self, ino: u32, count: u64) -> bool {
        let mut users = self.0.lock();
        let Some(known) = users.get_mut(&ino) else { return false };
        *known = known.saturating_sub(count);
        let is_last = *known == 0;
        if is_last {
            users.remove(&ino);
        }
        is_last
    }

    /// Whether anybody uses it.
    pub(super) fn has(&self, ino: u32) -> bool {
        self.0.lock().contains_key(&ino)
    }
}
