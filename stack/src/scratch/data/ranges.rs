//! Free space as ranges of blocks, found by place and by length.

use std::collections::{BTreeMap, BTreeSet};

/// Ranges that neither overlap nor touch.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    by_place: BTreeMap<u64, u64>,
    by_length: BTreeSet<(u64, u64)>,
}

impl Ranges {
    /// Adds a range, joined with its neighbours, and returns what it has become.
    pub(super) fn insert(&mut self, mut at: u64, mut len: u64) -> (u64, u64) {
        if let Some((&before, &length)) = self.by_place.range(..at).next_back()
            && before + length == at
        {
            self.remove(before, length);
            (at, len) = (before, length + len);
        }
        if let Some(&length) = self.by_place.get(&(at + len)) {
            self.remove(at + len, length);
            len += length;
        }
        self.by_place.insert(at, len);
        self.by_length.insert((len, at));
        (at, len)
    }

    /// Takes out a range that is there.
    pub(super) fn remove(&mut self, at: u64, len: u64) {
        self.by_place.remove(&at);
        self.by_length.remove(&(len, at));
    }

    /// Takes at most `want` blocks that begin exactly at `at`.
    pub(super) fn take_at(&mut self, at: u64, want: u64) -> Option<u64> {
        let len = *self.by_place.get(&at)?;
        Some(self.take(at, len, want))
    }

    /// Takes `want` blocks out of the shortest range that has so many.
    pub(super) fn take_fit(&mut self, want: u64) -> Option<u64> {
        let &(len, at) = self.by_length.range((want, 0)..).next()?;
        self.take(at, len, want);
        Some(at)
    }

    /// Takes everything.
    pub(super) fn drain(&mut self) -> Vec<(u64, u64)> {
        self.by_length.clear();
        std::mem::take(&mut self.by_place).into_iter().collect()
    }

    fn take(&mut self, at: u64, len: u64, want: u64) -> u64 {
        self.remove(at, len);
        if len > want {
            self.by_place.insert(at + want, len - want);
            self.by_length.insert((len - want, at + want));
        }
        len.min(want)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_become_one() {
        let mut ranges = Ranges::default();
        ranges.insert(10, 5);
        ranges.insert(20, 5);
        assert_eq!(ranges.insert(15, 5), (10, 15));
        assert_eq!(ranges.take_at(10, 4), Some(4));
        assert_eq!(ranges.take_fit(11), Some(14));
        assert_eq!(ranges.take_fit(1), None);
        assert!(ranges.drain().is_empty());
    }
}
