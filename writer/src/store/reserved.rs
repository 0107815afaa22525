//! Blocks for which there is room on the device. What is forgotten here is asked for again, which does no harm.

use std::mem;

use rustc_hash::FxHashSet;

/// So many are known at least, and twice as many at most.
const MOST: usize = 1 << 16;

#[derive(Debug, Default)]
pub(super) struct Reserved {
    young: FxHashSet<u64>,
    old: FxHashSet<u64>,
}

impl Reserved {
    pub(super) fn contains(&self, block: &u64) -> bool {
        self.young.contains(block) || self.old.contains(block)
    }

    pub(super) fn insert(&mut self, block: u64) {
        if self.young.len() >= MOST {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded() {
        let mut reserved = Reserved::default();
        (0..5 * MOST as u64).for_each(|block| reserved.insert(block));
        assert!(reserved.contains(&(5 * MOST as u64 - 1)) && !reserved.contains(&0));
        assert!(reserved.young.len() + reserved.old.len() <= 2 * MOST);
    }
}
