//! Listings that were made lately, up to a number of bytes.
//!
//! Two generations: what was asked for lately, and what before. When the younger one is full it takes the place of the older one, which
//! is dropped. So a listing of any size is kept until others have been asked for, and asking costs the same however many there are.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::listing::Listing;
use super::node::Node;
use crate::layer::Time;

/// Keeps listings.
pub(super) struct Cache {
    /// Bytes of one generation.
    half: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    young: HashMap<Node, Arc<Listing>>,
    old: HashMap<Node, Arc<Listing>>,
    /// Bytes of the young.
    weight: usize,
    /// Directories that are being read, each by one thread; others wait for it.
    in_work: HashMap<Node, Arc<Mutex<()>>>,
}

impl Cache {
    /// Keeps about `bytes`.
    pub(super) fn new(bytes: usize) -> Self {
        Self { half: bytes / 2, state: Mutex::default() }
    }

    /// The listing of a directory as it is kept.
    pub(super) fn kept(&self, node: &Node) -> Option<Arc<Listing>> {
        lock(&self.state).find(node, self.half)
    }

    /// The listing of a directory, which is made with `make` where it is not there, or another time is `changed` than when it was made.
    /// Threads that want the same one wait for the first of them.
    pub(super) fn get(
        &self,
        node: &Node,
        changed: &[Time],
        make: impl FnOnce() -> io::Result<Listing>,
    ) -> io::Result<Arc<Listing>> {
        let turn = {
            let mut state = lock(&self.state);
            if let Some(listing) = state.find(node, self.half).filter(|listing| listing.changed == changed) {
                return Ok(listing);
            }
            Arc::clone(state.in_work.entry(node.clone()).or_default())
        };
        let _turn = lock(&turn);
        if let Some(listing) = lock(&self.state).find(node, self.half).filter(|listing| listing.changed == changed) {
            return Ok(listing);
        }
        let made = make();
        let mut state = lock(&self.state);
        state.in_work.remove(node);
        let listing = Arc::new(made?.of(changed));
        state.keep(node.clone(), Arc::clone(&listing), self.half);
        Ok(listing)
    }
}

impl State {
    fn find(&mut self, node: &Node, half: usize) -> Option<Arc<Listing>> {
        if let Some(listing) = self.young.get(node) {
            return Some(Arc::clone(listing));
        }
        let (node, listing) = self.old.remove_entry(node)?;
        self.keep(node, Arc::clone(&listing), half);
        Some(listing)
    }

    fn keep(&mut self, node: Node, listing: Arc<Listing>, half: usize) {
        self.weight += listing.weight();
        let replaced = self.young.insert(node, listing);
        self.weight -= replaced.map_or(0, |replaced| replaced.weight());
        if self.weight > half {
            self.old = std::mem::take(&mut self.young);
            self.weight = 0;
        }
    }
}

/// No thread panics while it holds one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Key;
    use crate::merge::node::Part;
    use condatainer_formats::ext::FileType;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn node(key: u64) -> Node {
        Node::One(Part { layer: 0, key: Key(key) })
    }

    fn listing(names: usize) -> Listing {
        let mut listing = Listing::default();
        (0..names).for_each(|name| listing.push(&name.to_be_bytes(), node(0), FileType::Regular));
        listing.finish()
    }

    #[test]
    fn it_is_bounded_and_keeps_what_is_used() {
        let cache = Cache::new(100 << 10);
        let made = AtomicUsize::new(0);
        let get = |key, names| {
            cache.get(&node(key), &[], || {
                made.fetch_add(1, Ordering::Relaxed);
                Ok(listing(names))
            })
        };
        for key in 1..500 {
            get(0, 10).unwrap();
            get(key, 100).unwrap();
        }
        assert_eq!(made.load(Ordering::Relaxed), 500, "the one that is asked for all the time is made once");
        let state = lock(&cache.state);
        let weight: usize = state.young.values().chain(state.old.values()).map(|listing| listing.weight()).sum();
        assert!(weight < 110 << 10 && state.in_work.is_empty(), "{weight}");
    }

    #[test]
    fn one_that_is_too_large_works_and_an_error_is_not_kept() {
        let cache = Cache::new(1 << 10);
        assert_eq!(cache.get(&node(1), &[], || Ok(listing(10_000))).unwrap().len(), 10_000);
        assert_eq!(cache.get(&node(1), &[], || panic!("made twice")).unwrap().len(), 10_000);
        assert!(cache.get(&node(2), &[], || Err(io::Error::other("broken"))).is_err());
        assert!(cache.get(&node(2), &[], || Ok(listing(1))).is_ok());
    }

    #[test]
    fn threads_that_want_the_same_wait_for_the_first() {
        let (cache, made) = (Cache::new(1 << 20), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for key in 0..50 {
                        let make = || {
                            made.fetch_add(1, Ordering::Relaxed);
                            Ok(listing(20))
                        };
                        assert_eq!(cache.get(&node(key), &[], make).unwrap().len(), 20);
                    }
                });
            }
        });
        assert_eq!(made.load(Ordering::Relaxed), 50);
    }
}
