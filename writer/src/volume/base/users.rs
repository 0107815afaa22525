//! Who still uses an inode: the kernel, as often as it was given it. What has no name any more lives until nobody uses it.

use std::collections::HashMap;

use parking_lot::Mutex;

/// The bit beside the count: it had several names when it was given.
const SEVERAL: u32 = 1 << 31;
/// Who was given it so often has it until the end.
const MOST: u32 = SEVERAL - 1;

/// How often each inode is in use; locked after the store, or alone. The kernel knows a million of them where a tree has that many files,
/// so each is small.
#[derive(Debug, Default)]
pub(crate) struct Users(Mutex<HashMap<u32, u32>>);

impl Users {
    /// One more of it, which has several names.
    pub(crate) fn add(&self, ino: u32, has_several_names: bool) {
        let mut users = self.0.lock();
        let known = users.entry(ino).or_insert(0);
        let bit = *known & SEVERAL | if has_several_names { SEVERAL } else { 0 };
        *known = (*known & MOST).saturating_add(1).min(MOST) | bit;
    }

    /// `count` fewer of it; returns whether that was the last.
    pub(crate) fn remove(&self, ino: u32, count: u64) -> bool {
        let mut users = self.0.lock();
        let Some(known) = users.get_mut(&ino).filter(|known| **known & MOST < MOST) else { return false };
        let left = (*known & MOST).saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
        *known = left | *known & SEVERAL;
        if left == 0 {
            users.remove(&ino);
        }
        left == 0
    }

    /// Whether anybody uses it.
    pub(crate) fn has(&self, ino: u32) -> bool {
        self.0.lock().contains_key(&ino)
    }

    /// Whether somebody uses it who was given it when it had several names.
    pub(crate) fn had_several_names(&self, ino: u32) -> bool {
        self.0.lock().get(&ino).is_some_and(|known| known & SEVERAL != 0)
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
    fn they_are_counted_and_it_is_known_who_has_seen_several_names() {
        let users = Users::default();
        users.add(12, false);
        users.add(12, false);
        assert!(!users.remove(12, 1) && users.has(12) && !users.had_several_names(12));
        users.add(12, true);
        users.add(12, false);
        assert!(!users.remove(12, 2) && users.had_several_names(12));
        assert!(users.remove(12, 1) && !users.has(12) && !users.had_several_names(12));
        assert!(!users.remove(12, 1));
        users.add(13, true);
        users.forget_all();
        assert!(!users.has(13));
    }

    #[test]
    fn who_was_counted_too_often_stays() {
        let users = Users::default();
        users.0.lock().insert(12, SEVERAL | (MOST - 1));
        users.add(12, false);
        users.add(12, false);
        assert!(users.had_several_names(12) && !users.remove(12, u64::MAX) && users.has(12));
    }
}
