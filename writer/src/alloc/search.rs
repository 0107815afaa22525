//! Where there is a run of free blocks, as near behind a goal as possible.
//!
//! Free is what is clear in the bitmap, was not freed by a transaction that is not committed, and is held by nobody.

use std::ops::Range;

use super::bitmap::clear_run;
use super::groups;
use crate::error::Result;
use crate::store::{Bytes, Handle};

/// Up to `wanted` free blocks: those at `goal` if they are free; else, in the group of `goal` and then in the others, a run that is long
/// enough; else the first there are.
pub(super) fn find(handle: &mut Handle<'_>, goal: u64, wanted: u64) -> Result<Option<Range<u64>>> {
    let geometry = handle.geometry();
    let count = geometry.groups().len();
    let (first, _) = geometry.group_of(goal);
    let first = if first < count { first } else { 0 };
    let enough = wanted.div_ceil(2);
    for least in [enough, 1] {
        for group in (first..count).chain(0..first) {
            let free = u64::from(groups::descriptor(handle, group)?.free_blocks());
            // In the last round nothing is left out that may be there.
            if free < least || (least > 1 && handle.room().longest(group) < least) {
                continue;
            }
            let found =
                best_in(handle, group, goal, wanted)?.filter(|run| run.end - run.start >= least || run.start == goal);
            if found.is_some() {
                return Ok(found);
            }
        }
        if least == 1 {
            break;
        }
    }
    Ok(None)
}

/// The run at `goal`, the first one behind it that is long enough, or the longest of a group.
fn best_in(handle: &mut Handle<'_>, group: usize, goal: u64, wanted: u64) -> Result<Option<Range<u64>>> {
    let geometry = handle.geometry();
    let (bitmap, all) = (handle.block(geometry.group(group)?.block_bitmap)?, geometry.blocks_of(group));
    let from = if all.contains(&goal) { goal } else { all.start };
    let mut scan = Scan { handle, bitmap, start: all.start, has_met_others: false };
    let mut longest: Option<Range<u64>> = None;
    for mut part in [from..all.end, all.start..from] {
        while let Some(run) = scan.next_in(part.clone()) {
            let length = run.end - run.start;
            if run.start == goal || length >= wanted {
                return Ok(Some(run.start..run.start + length.min(wanted)));
            }
            part.start = run.end;
            if longest.as_ref().is_none_or(|known| known.end - known.start < length) {
                longest = Some(run);
            }
        }
    }
    if !scan.has_met_others {
        let length = longest.as_ref().map_or(0, |run| run.end - run.start);
        // What lies on both sides of the goal was seen as two.
        let parts = if from == all.start { 1 } else { 2 };
        handle.room().note_longest(group, Some(length.saturating_mul(parts)));
    }
    Ok(longest)
}

struct Scan<'a, 'b> {
    handle: &'a Handle<'b>,
    bitmap: Bytes,
    /// The group's first block.
    start: u64,
    /// Blocks were left out that are free in the bitmap.
    has_met_others: bool,
}

impl Scan<'_, '_> {
    /// The next run of free blocks in a part of the group.
    fn next_in(&mut self, mut part: Range<u64>) -> Option<Range<u64>> {
        let bit = |block: u64| u32::try_from(block - self.start).unwrap_or(u32::MAX);
        while part.start < part.end {
            let bits = clear_run(&self.bitmap, bit(part.start)..bit(part.end))?;
            let run = self.start + u64::from(bits.start)..self.start + u64::from(bits.end);
            let pending = self.handle.pending_in(run.clone());
            let held = self.handle.room().first_in(&run);
            let Some(taken) = pending.into_iter().chain(held).min_by_key(|taken| taken.start) else { return Some(run) };
            self.has_met_others = true;
            if taken.start > run.start {
                return Some(run.start..taken.start);
            }
            part.start = taken.end;
        }
        None
    }
}
