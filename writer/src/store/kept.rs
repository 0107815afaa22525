//! Clean blocks kept in memory: at most so many bytes, those first that were used last.
//!
//! There are two generations. What is used goes to the young one; when that is half as large as all may be, it becomes the old one, and
//! what was old is forgotten.

use std::mem;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::bytes::Bytes;

/// What a block costs besides its bytes.
const OVERHEAD: usize = 96;

#[derive(Debug)]
pub(super) struct Kept {
    young: FxHashMap<u64, Bytes>,
    old: FxHashMap<u64, Bytes>,
    /// Of the young ones.
    bytes: usize,
    half: usize,
}

impl Kept {
    /// Of at most `bytes`, and a little.
    pub(super) fn new(bytes: usize) -> Self {
        Self { young: FxHashMap::default(), old: FxHashMap::default(), bytes: 0, half: bytes / 2 }
    }

    pub(super) fn get(&mut self, block: u64) -> Option<Bytes> {
        if let Some(bytes) = self.young.get(&block) {
            return Some(Arc::clone(bytes));
        }
        let bytes = self.old.remove(&block)?;
        self.put(block, &bytes);
        Some(bytes)
    }

    pub(super) fn put(&mut self, block: u64, bytes: &Bytes) {
        if self.bytes >= self.half {
            self.old = mem::take(&mut self.young);
            self.bytes = 0;
        }
        self.old.remove(&block);
        if self.young.insert(block, Arc::clone(bytes)).is_none() {
            self.bytes += bytes.len() + OVERHEAD;
        }
    }

    pub(super) fn forget(&mut self, block: u64) {
        self.old.remove(&block);
        if let Some(bytes) = self.young.remove(&block) {
            self.bytes = self.bytes.saturating_sub(bytes.len() + OVERHEAD);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_within_its_bounds_and_keeps_what_is_used() {
        let mut kept = Kept::new(1 << 20);
        kept.put(0, &Arc::new(vec![7; 4096]));
        for block in 1..10_000 {
            kept.put(block, &Arc::new(vec![0; 4096]));
            assert_eq!(kept.get(0).unwrap()[0], 7);
        }
        assert!((128..=258).contains(&(kept.young.len() + kept.old.len())));
        kept.forget(0);
        assert!(kept.get(0).is_none());
    }
}
