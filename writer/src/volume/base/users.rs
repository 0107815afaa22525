//! Who still uses an inode: the kernel, as often as it was given it. What has no name any more lives until nobody uses it.

use std::collections::HashMap;

use parking_lot::Mutex;

/// Who was given it so often has it until the end.
const MOST: u32 = u32::MAX;

/// How often each inode is in use; locked after the store, or alone. The kernel knows a million of them where a tree has that many files,
/// so each is small.
#[derive(Debug, Default)]
pub(crate) struct Users(Mutex<HashMap<u32, u32>>);

impl Users {
    /// One more of it.
    pub(crate) fn add(&self, ino: u32) {
        let mut users = self.0.lock();
        let known = users.entry(ino).or_insert(0);
        *known = known.saturating_add(1);
    }

    /// `count` fewer of it; returns whether that was the last.
    pub(crate) fn remove(&self, ino: u32, count: u64) -> bool {
        let mut users = self.0.lock();
        let Some(known) = users.get_mut(&ino).filter(|known| **known < MOST) else { return false };
        *known = known.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
        let is_last = *known == 0;
        if is_last {
            users.remove(&ino);
        }
        is_last
    }

    /// Whether anybody uses it.
    pub(crate) fn has(&self, ino: u32) -> bool {
        self.0.lock().contains_key(&ino)
    }

    /// Nobody uses anything any more.
    pub(crate) fn forget_all(&self) {
        *self.0.lock() = HashMap::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_counted() {
        let users = Users::default();
        users.add(12);
        users.add(12);
        users.add(12);
        assert!(!users.remove(12, 2) && users.has(12));
        assert!(users.remove(12, 1) && !users.has(12));
        assert!(!users.remove(12, 1));
        users.add(13);
        users.forget_all();
        assert!(!users.has(13));
    }

    #[test]
    fn who_was_counted_too_often_stays() {
        let users = Users::default();
        users.0.lock().insert(12, MOST - 1);
        users.add(12);
        users.add(12);
        assert!(!users.remove(12, u64::MAX) && users.has(12));
    }
}
