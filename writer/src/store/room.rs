//! Who holds which free blocks: data is written before the map and the bitmap know of it, and meanwhile nobody else may get its blocks.
//!
//! All of this is in memory only. A file that grows at its end for the second time has a window besides: blocks behind its last ones that are
//! kept for it, so that files which are written in pieces at the same time do not lie in pieces. Nobody need tell when a file has stopped
//! growing: the windows that were used last stay, and all are given up when room is short.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

/// More files than these that grow at the same time do not have a window each.
const WINDOWS: usize = 256;

/// What the allocator keeps in memory.
#[derive(Debug, Default)]
pub(crate) struct Room {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// All blocks that are held, windows included: the first of each run, and its end. They do not overlap.
    runs: BTreeMap<u64, u64>,
    /// What is kept for each file, by its inode.
    windows: HashMap<u32, Window>,
    /// How many windows have been made.
    made: u64,
    /// How many blocks are in windows.
    in_windows: u64,
    /// How many blocks are held, windows not included.
    held: u64,
    /// Of a group: no run of free blocks in it is longer.
    longest: HashMap<usize, u64>,
}

#[derive(Debug, Clone, Default)]
struct Window {
    /// From where the file goes on; empty when there was none, or it is used up.
    blocks: Range<u64>,
    /// How large it was when it was made, with what was given away at once.
    size: u64,
    /// How many were made before it.
    age: u64,
}

/// Blocks that are held until this is dropped. By then the bitmap has them, or nobody wants them.
#[derive(Debug)]
pub(crate) struct Held {
    room: Arc<Room>,
    blocks: Range<u64>,
    /// They are not counted as free any more.
    is_taken: AtomicBool,
}

impl Held {
    /// Which they are.
    pub(crate) fn blocks(&self) -> Range<u64> {
        self.blocks.clone()
    }

    /// The bitmap has them now, and nobody counts them twice.
    pub(crate) fn note_taken(&self) {
        self.discount(&mut self.room.inner.lock());
    }

    fn discount(&self, inner: &mut Inner) {
        if !self.is_taken.swap(true, Ordering::Relaxed) {
            inner.held = inner.held.saturating_sub(length(&self.blocks));
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut inner = self.room.inner.lock();
        inner.runs.remove(&self.blocks.start);
        self.discount(&mut inner);
    }
}

impl Room {
    /// How many blocks are held that somebody is about to use.
    pub(crate) fn held(&self) -> u64 {
        self.inner.lock().held
    }

    /// The first held blocks in a range.
    pub(crate) fn first_in(&self, range: &Range<u64>) -> Option<Range<u64>> {
        let inner = self.inner.lock();
        let before = inner.runs.range(..=range.start).next_back().filter(|(_, end)| **end > range.start);
        let run = before.or_else(|| inner.runs.range(range.clone()).next());
        run.map(|(&start, &end)| start.max(range.start)..end.min(range.end))
    }

    /// Takes up to `wanted` blocks out of a file's window, if it has any at `goal`.
    pub(crate) fn hold_from_window(self: &Arc<Self>, ino: u32, goal: u64, wanted: u64) -> Option<Held> {
        let mut inner = self.inner.lock();
        let window = inner.windows.get_mut(&ino).filter(|window| window.blocks.start == goal)?;
        let blocks = goal..window.blocks.end.min(goal.saturating_add(wanted));
        let old = window.blocks.clone();
        window.blocks.start = blocks.end;
        if blocks.is_empty() {
            return None;
        }
        inner.runs.insert(blocks.start, blocks.end);
        if blocks.end < old.end {
            inner.runs.insert(blocks.end, old.end);
        }
        inner.in_windows = inner.in_windows.saturating_sub(length(&blocks));
        inner.held += length(&blocks);
        Some(Held { room: Arc::clone(self), blocks, is_taken: AtomicBool::new(false) })
    }

    /// Holds the first `wanted` of these blocks, which nobody holds, and keeps the others for the file `ino`.
    pub(crate) fn hold(self: &Arc<Self>, ino: u32, found: Range<u64>, wanted: u64) -> Held {
        let mut inner = self.inner.lock();
        inner.end_window(ino);
        let middle = found.end.min(found.start.saturating_add(wanted));
        let (blocks, rest) = (found.start..middle, middle..found.end);
        inner.runs.insert(blocks.start, blocks.end);
        inner.held += length(&blocks);
        if !rest.is_empty() {
            inner.runs.insert(rest.start, rest.end);
            inner.in_windows += length(&rest);
        }
        inner.make_place();
        inner.made += 1;
        let age = inner.made;
        inner.windows.insert(ino, Window { blocks: rest, size: length(&found), age });
        Held { room: Arc::clone(self), blocks, is_taken: AtomicBool::new(false) }
    }

    /// How large the last window of a file was that goes on at `goal`; `None` of one that does not.
    pub(crate) fn window_size(&self, ino: u32, goal: u64) -> Option<u64> {
        let inner = self.inner.lock();
        inner.windows.get(&ino).filter(|window| window.blocks.start == goal).map(|window| window.size)
    }

    /// Nothing is kept for any file any more. Returns whether that has made blocks free.
    pub(crate) fn end_windows(&self) -> bool {
        self.inner.lock().end_windows()
    }

    /// No run of free blocks in a group is longer, as far as is known.
    pub(crate) fn longest(&self, group: usize) -> u64 {
        self.inner.lock().longest.get(&group).copied().unwrap_or(u64::MAX)
    }

    /// Notes what was found in a group; `None` when nothing is known any more.
    pub(crate) fn note_longest(&self, group: usize, longest: Option<u64>) {
        let mut inner = self.inner.lock();
        match longest {
            Some(longest) => inner.longest.insert(group, longest),
            None => inner.longest.remove(&group),
        };
    }
}

impl Inner {
    fn end_window(&mut self, ino: u32) {
        if let Some(window) = self.windows.remove(&ino).filter(|window| !window.blocks.is_empty()) {
            self.runs.remove(&window.blocks.start);
            self.in_windows = self.in_windows.saturating_sub(length(&window.blocks));
        }
    }

    /// Makes place for another window.
    fn make_place(&mut self) {
        if self.windows.len() < WINDOWS {
            return;
        }
        self.windows.retain(|_, window| !window.blocks.is_empty());
        if self.windows.len() >= WINDOWS
            && let Some(oldest) = self.windows.iter().min_by_key(|(_, window)| window.age).map(|(ino, _)| *ino)
        {
            self.end_window(oldest);
        }
    }

    fn end_windows(&mut self) -> bool {
        let had_blocks = self.in_windows > 0;
        let inodes: Vec<u32> = self.windows.keys().copied().collect();
        for ino in inodes {
            self.end_window(ino);
        }
        had_blocks
    }
}

fn length(blocks: &Range<u64>) -> u64 {
    blocks.end.saturating_sub(blocks.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_found_until_it_is_dropped() {
        let room = Arc::new(Room::default());
        let held = room.hold(12, 10..30, 5);
        assert_eq!((held.blocks(), room.held()), (10..15, 5));
        assert_eq!(room.first_in(&(0..100)), Some(10..15));
        assert_eq!(room.first_in(&(15..100)), Some(15..30));
        held.note_taken();
        assert_eq!((room.first_in(&(0..100)), room.held()), (Some(10..15), 0));
        drop(held);
        assert_eq!((room.first_in(&(0..100)), room.held()), (Some(15..30), 0));
        assert!(room.end_windows());
        assert_eq!(room.first_in(&(0..100)), None);
        assert!(!room.end_windows());
    }

    #[test]
    fn a_file_goes_on_in_its_window() {
        let room = Arc::new(Room::default());
        let first = room.hold(12, 10..18, 2);
        assert!(room.hold_from_window(13, 12, 1).is_none());
        assert!(room.hold_from_window(12, 13, 1).is_none());
        let second = room.hold_from_window(12, 12, 3).unwrap();
        let third = room.hold_from_window(12, 15, 100).unwrap();
        assert_eq!([first.blocks(), second.blocks(), third.blocks()], [10..12, 12..15, 15..18]);
        assert!(room.hold_from_window(12, 18, 1).is_none());
        assert_eq!((room.held(), room.window_size(12, 18), room.window_size(12, 17)), (8, Some(8), None));
        drop((first, second, third));
        assert_eq!((room.held(), room.first_in(&(0..100))), (0, None));
        room.inner.lock().end_window(12);
        assert_eq!(room.window_size(12, 18), None);
    }

    #[test]
    fn there_are_only_so_many_windows() {
        let room = Arc::new(Room::default());
        for ino in 0..5000 {
            drop(room.hold(ino, u64::from(ino) * 8..u64::from(ino) * 8 + 8, 1));
        }
        let inner = room.inner.lock();
        assert!(inner.windows.len() <= WINDOWS && inner.runs.len() <= WINDOWS);
        assert!((4990..5000).all(|ino| inner.windows.contains_key(&ino)));
        assert_eq!(inner.in_windows, inner.windows.len() as u64 * 7);
    }
}
