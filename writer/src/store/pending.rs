//! Blocks that were freed by transactions that are not committed yet: free in the bitmaps, and given to nobody.

use std::collections::BTreeMap;
use std::ops::Range;

/// A transaction is ended when so many runs wait: a large file that lies in single blocks must not fill the memory.
const MOST: usize = 1 << 15;

/// Runs of blocks by their first, each with its end and the number of the transaction.
#[derive(Debug, Default)]
pub(super) struct Pending {
    runs: BTreeMap<u64, (u64, u32)>,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether a commit should make some of them free before there are more.
    pub(super) fn is_full(&self) -> bool {
        self.runs.len() >= MOST
    }

    /// Adds blocks that are not in yet.
    pub(super) fn add(&mut self, blocks: Range<u64>, tid: u32) {
        let before = self.runs.range(..blocks.start).next_back().map(|(&start, &run)| (start, run));
        match before {
            Some((start, (end, of))) if end == blocks.start && of == tid => self.runs.insert(start, (blocks.end, tid)),
            _ => self.runs.insert(blocks.start, (blocks.end, tid)),
        };
    }

    /// The first pending run that has blocks of this range: the part of it that is in.
    pub(super) fn first_in(&self, range: Range<u64>) -> Option<Range<u64>> {
        let before = self.runs.range(..=range.start).next_back().filter(|(_, (end, _))| *end > range.start);
        let run = before.or_else(|| self.runs.range(range.clone()).next());
        run.map(|(&start, &(end, _))| start.max(range.start)..end.min(range.end))
    }

    /// What that transaction has freed is free.
    pub(super) fn committed(&mut self, tid: u32) {
        self.runs.retain(|_, (_, of)| *of != tid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_freed_is_found_until_it_is_committed() {
        let mut pending = Pending::default();
        pending.add(10..12, 1);
        pending.add(12..15, 1);
        pending.add(15..16, 2);
        pending.add(30..31, 2);
        assert_eq!(pending.runs.len(), 3);
        assert_eq!(pending.first_in(0..100), Some(10..15));
        assert_eq!(pending.first_in(11..13), Some(11..13));
        assert_eq!(pending.first_in(16..31), Some(30..31));
        assert_eq!(pending.first_in(16..30), None);
        pending.committed(1);
        assert_eq!(pending.first_in(0..100), Some(15..16));
        pending.committed(2);
        assert!(pending.is_empty());
    }

    #[test]
    fn what_lies_in_single_blocks_is_committed_before_it_is_much() {
        let mut pending = Pending::default();
        let most = MOST as u64;
        (0..most - 1).for_each(|run| pending.add(2 * run..2 * run + 1, 1));
        assert!(!pending.is_full());
        pending.add(2 * most..2 * most + 1, 2);
        assert!(pending.is_full());
        pending.committed(1);
        assert!(!pending.is_full() && !pending.is_empty());
    }
}
