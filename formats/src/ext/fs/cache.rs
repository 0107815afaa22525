//! Pieces of a file system kept in memory: at most so many bytes, those first that were used last.
//!
//! There are two generations. What is used goes to the young one; when that is half as large as all may be, it becomes the old one, and
//! what was old is forgotten. A lock is held for as long as one look takes, and threads that look for different pieces rarely meet.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SHARDS: u64 = 8;
/// What a piece costs besides its bytes.
const OVERHEAD: usize = 96;

/// Pieces by where they begin.
pub(crate) struct Cache {
    shards: [Mutex<Generations>; SHARDS as usize],
    half: usize,
}

#[derive(Default)]
struct Generations {
    young: HashMap<u64, Arc<[u8]>>,
    old: HashMap<u64, Arc<[u8]>>,
    /// Of the young ones.
    bytes: usize,
}

impl Cache {
    /// Of at most `bytes`, and a little.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { shards: Default::default(), half: bytes / 2 / SHARDS as usize }
    }

    /// The piece of `length` bytes that begins at `offset`.
    pub(crate) fn get(&self, offset: u64, length: usize) -> Option<Arc<[u8]>> {
        let mut shard = self.shard(offset);
        if let Some(piece) = shard.young.get(&offset) {
            return Some(piece.clone()).filter(|piece| piece.len() == length);
        }
        let piece = shard.old.remove(&offset)?;
        shard.add(offset, &piece, self.half);
        Some(piece).filter(|piece| piece.len() == length)
    }

    /// Keeps a piece.
    pub(crate) fn put(&self, offset: u64, piece: &Arc<[u8]>) {
        self.shard(offset).add(offset, piece, self.half);
    }

    fn shard(&self, offset: u64) -> MutexGuard<'_, Generations> {
        // Neighbours lie in different shards, whatever the size of a block.
        let mixed = offset.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 61;
        let [first, ..] = &self.shards;
        self.shards.get(mixed as usize).unwrap_or(first).lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn add(&mut self, offset: u64, piece: &Arc<[u8]>, half: usize) {
        if self.bytes >= half {
            self.old = mem::take(&mut self.young);
            self.bytes = 0;
        }
        let before = self.young.insert(offset, piece.clone()).map_or(0, |piece| piece.len() + OVERHEAD);
        self.bytes = self.bytes + piece.len() + OVERHEAD - before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_within_its_bounds_and_keeps_what_is_used() {
        let cache = Cache::new(1 << 20);
        let piece = |byte: u8| -> Arc<[u8]> { vec![byte; 4096].into() };
        cache.put(0, &piece(7));
        for at in 1..10_000_u64 {
            cache.put(at * 4096, &piece(0));
            assert_eq!(cache.get(0, 4096).unwrap()[0], 7);
        }
        let kept = cache.shards.iter().map(|shard| shard.lock().unwrap()).map(|it| it.young.len() + it.old.len());
        let kept: usize = kept.sum();
        assert!((128..=(1 << 20) / 4096 + 2 * SHARDS as usize).contains(&kept), "{kept}");
    }

    #[test]
    fn a_piece_of_another_length_is_another() {
        let cache = Cache::new(1 << 20);
        cache.put(4096, &vec![0; 1024].into());
        assert!(cache.get(4096, 4096).is_none() && cache.get(4096, 1024).is_some() && cache.get(0, 1024).is_none());
    }
}
