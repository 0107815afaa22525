//! Unpacked blocks that are kept for any number of threads, within a budget of bytes.
//!
//! A lock is held for the search of a place, never while something is read or unpacked. Who finds a block that another thread
//! unpacks waits for that one.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::super::error::SquashfsError;

/// So many blocks of the largest size find place in one shard at least, and so many shards there are at most.
const BLOCKS_EACH: usize = 16;
const SHARDS: usize = 16;

/// Buffers of blocks that were let go are used again, for this part of the budget: else the allocator has them in as many places as there
/// are threads.
const SPARE: usize = 8;

/// One block, and where the next begins.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) bytes: Vec<u8>,
    pub(super) next: u64,
}

/// Where a block begins, and what is said of how it is stored.
pub(super) type Place = (u64, u32);

/// Empty while a thread unpacks the block, `None` when that has failed.
type Slot = OnceLock<Option<Arc<Block>>>;

struct Kept {
    slot: Arc<Slot>,
    weight: usize,
    /// It was asked for again, so it is spared once.
    used: bool,
}

#[derive(Default)]
struct Shard {
    kept: HashMap<Place, Kept>,
    order: VecDeque<Place>,
    held: usize,
}

pub(crate) struct Cache {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    /// Bytes that one shard holds at most, or one block where that is larger.
    budget: usize,
    /// The length of the largest blocks, and buffers for those.
    largest: usize,
    spare: Mutex<Vec<Vec<u8>>>,
    most_spare: usize,
}

impl Cache {
    /// Of `budget` bytes in all, for blocks of at most `largest`.
    pub(super) fn new(budget: usize, largest: usize) -> Self {
        let shards = (budget / BLOCKS_EACH / largest.max(1)).clamp(1, SHARDS);
        let empty = (0..shards).map(|_| Mutex::default()).collect();
        let (budget, most_spare) = (budget / shards, budget / SPARE / largest.max(1));
        Self { shards: empty, hasher: RandomState::new(), budget, largest, spare: Mutex::default(), most_spare }
    }

    /// An empty buffer for a block of this length.
    pub(super) fn buffer(&self, length: usize) -> Vec<u8> {
        let used = if length == self.largest { lock(&self.spare).pop() } else { None };
        used.unwrap_or_default()
    }

    /// Keeps the buffers of large blocks that nobody reads any more.
    fn recycle(&self, evicted: Vec<Kept>) {
        let freed = evicted.into_iter().filter_map(|kept| Arc::into_inner(kept.slot)?.into_inner()?);
        for mut bytes in freed.filter_map(|block| Some(Arc::into_inner(block)?.bytes)) {
            if bytes.len() == self.largest {
                bytes.clear();
                let mut spare = lock(&self.spare);
                if spare.len() < self.most_spare {
                    spare.push(bytes);
                }
            }
        }
    }

    /// The block at `place`, which has at most `weight` bytes; unpacked by one thread, whoever asks for it.
    pub(super) fn get(
        &self,
        place: Place,
        weight: usize,
        unpack: &dyn Fn() -> Result<Block, SquashfsError>,
    ) -> Result<Arc<Block>, SquashfsError> {
        let slot = self.slot(place, weight).0;
        let mut failure = None;
        let block = slot.get_or_init(|| unpack().map(Arc::new).map_err(|error| failure = Some(error)).ok());
        match (block, failure) {
            (Some(block), _) => Ok(Arc::clone(block)),
            (None, Some(error)) => {
                self.forget(place, &slot);
                Err(error)
            }
            // Another thread has failed, and knows why.
            (None, None) => unpack().map(Arc::new),
        }
    }

    /// Unpacks the block at `place`, unless it is there, or a thread is at it.
    pub(super) fn prepare(&self, place: Place, weight: usize, unpack: &dyn Fn() -> Result<Block, SquashfsError>) {
        let (slot, is_new) = self.slot(place, weight);
        if is_new && slot.get_or_init(|| unpack().map(Arc::new).ok()).is_none() {
            self.forget(place, &slot);
        }
    }

    /// The slot of a place, and whether it was made just now.
    fn slot(&self, place: Place, weight: usize) -> (Arc<Slot>, bool) {
        let mut shard = self.shard(place);
        if let Some(kept) = shard.kept.get_mut(&place) {
            kept.used = true;
            return (Arc::clone(&kept.slot), false);
        }
        let slot = Arc::new(Slot::new());
        let evicted = shard.make_room(weight, self.budget);
        shard.kept.insert(place, Kept { slot: Arc::clone(&slot), weight, used: false });
        shard.order.push_back(place);
        shard.held += weight;
        drop(shard);
        self.recycle(evicted);
        (slot, true)
    }

    fn forget(&self, place: Place, slot: &Arc<Slot>) {
        let mut shard = self.shard(place);
        if shard.kept.get(&place).is_some_and(|kept| Arc::ptr_eq(&kept.slot, slot)) {
            shard.remove(place);
            shard.order.retain(|other| *other != place);
        }
    }

    fn shard(&self, place: Place) -> MutexGuard<'_, Shard> {
        let number = self.hasher.hash_one(place) as usize % self.shards.len();
        // There is one at least, and the number is below theirs.
        lock(&self.shards[number])
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    /// Lets go what has not been asked for again, oldest first, until there is room.
    fn make_room(&mut self, weight: usize, budget: usize) -> Vec<Kept> {
        let mut evicted = Vec::new();
        while self.held + weight > budget
            && let Some(place) = self.order.pop_front()
        {
            match self.kept.get_mut(&place) {
                Some(kept) if kept.used => {
                    kept.used = false;
                    self.order.push_back(place);
                }
                _ => evicted.extend(self.remove(place)),
            }
        }
        evicted
    }

    fn remove(&mut self, place: Place) -> Option<Kept> {
        let kept = self.kept.remove(&place)?;
        self.held -= kept.weight;
        Some(kept)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    fn block(length: usize) -> Result<Block, SquashfsError> {
        Ok(Block { bytes: vec![7; length], next: 0 })
    }

    #[test]
    fn threads_that_want_the_same_block_unpack_it_once() {
        let (cache, count, all) = (Cache::new(1 << 20, 4096), AtomicUsize::new(0), Barrier::new(8));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    all.wait();
                    let unpack = || {
                        count.fetch_add(1, Ordering::Relaxed);
                        thread::yield_now();
                        block(100)
                    };
                    assert_eq!(cache.get((1, 2), 100, &unpack).unwrap().bytes.len(), 100);
                });
            }
        });
        assert_eq!(count.into_inner(), 1);
    }

    #[test]
    fn the_budget_holds_and_what_is_used_stays() {
        let cache = Cache::new(10 * 4096, 4096);
        for at in 0..1000 {
            cache.get((at, 0), 4096, &|| block(4096)).unwrap();
            let again = cache.get((0, 0), 4096, &|| panic!("it was let go"));
            assert!(again.is_ok());
        }
        assert_eq!(lock(&cache.spare).len(), 10 / SPARE);
        let used = (cache.buffer(4096), cache.buffer(100));
        assert!(used.0.is_empty() && used.0.capacity() == 4096 && used.1.capacity() == 0);
        let shard = lock(&cache.shards[0]);
        assert_eq!((shard.held, shard.kept.len(), shard.order.len()), (10 * 4096, 10, 10));
    }

    #[test]
    fn a_broken_block_is_tried_again_and_takes_no_room() {
        let cache = Cache::new(1 << 20, 4096);
        for _ in 0..100 {
            assert!(cache.get((5, 5), 4096, &|| Err(SquashfsError::Corrupt("it is broken"))).is_err());
            cache.prepare((5, 5), 4096, &|| Err(SquashfsError::Corrupt("it is broken")));
        }
        let shards = cache.shards.iter().map(lock);
        assert!(shards.into_iter().all(|shard| shard.held == 0 && shard.order.is_empty() && shard.kept.is_empty()));
        assert!(cache.get((5, 5), 4096, &|| block(1)).is_ok());
    }
}
