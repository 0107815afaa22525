//! A set of inode numbers whose memory follows what is in it, not the largest number an image may claim.

use std::collections::BTreeMap;

const BITS: u32 = 32 * 1024;
const WORDS: usize = BITS as usize / 64;

/// Inode numbers.
#[derive(Debug, Default)]
pub struct InoSet {
    pages: BTreeMap<u32, Box<[u64; WORDS]>>,
    len: u64,
}

impl InoSet {
    /// Adds `ino`; false when it was in already.
    pub fn insert(&mut self, ino: u32) -> bool {
        let page = self.pages.entry(ino / BITS).or_insert_with(|| Box::new([0; WORDS]));
        let (word, bit) = place(ino);
        let Some(word) = page.get_mut(word) else { return false };
        let fresh = *word & bit == 0;
        *word |= bit;
        self.len += u64::from(fresh);
        fresh
    }

    /// Whether `ino` is in.
    #[must_use]
    pub fn contains(&self, ino: u32) -> bool {
        let (word, bit) = place(ino);
        self.pages.get(&(ino / BITS)).and_then(|page| page.get(word)).is_some_and(|word| word & bit != 0)
    }

    /// How many are in.
    #[must_use]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether any number from `first` to `last` is in, where that is cheap to tell; true when unsure.
    #[must_use]
    pub fn may_touch(&self, first: u32, last: u32) -> bool {
        self.pages.range(first / BITS..=last / BITS).next().is_some()
    }
}

fn place(ino: u32) -> (usize, u64) {
    let bit = ino % BITS;
    ((bit / 64) as usize, 1 << (bit % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_once() {
        let mut set = InoSet::default();
        assert!(set.insert(12) && set.insert(u32::MAX) && set.insert(0));
        assert!(!set.insert(12));
        assert!(set.contains(u32::MAX) && !set.contains(13));
        assert_eq!(set.len(), 3);
    }

    #[test]
    fn ranges() {
        let mut set = InoSet::default();
        set.insert(100_000);
        assert!(set.may_touch(99_990, 100_010));
        assert!(!set.may_touch(1, 60_000));
    }
}
