//! Blocks: taken for metadata at once, for data after they were held; and given back.

use std::ops::Range;

use condatainer_formats::ext::raw::{clear_bit, set_bit};
use nix::errno::Errno;

use super::groups::{self, Change};
use super::search;
use crate::error::{Error, Result};
use crate::store::{Handle, Held};

/// A file's smallest window, in blocks; each one after it is twice as large as that before.
const SMALLEST_WINDOW: u64 = 8;
/// The largest.
const LARGEST_WINDOW: u64 = 2048;

/// So many blocks of pointers can be on the way to a block.
const LEVELS: u64 = 3;

/// Takes up to `wanted` blocks that lie together, as near behind `goal` as there are any, and returns at least one.
///
/// # Errors
/// `ENOSPC`. A commit may help if some are pending.
pub(crate) fn blocks(handle: &mut Handle<'_>, goal: u64, wanted: u64) -> Result<Range<u64>> {
    let found = find(handle, goal, wanted)?;
    take_run(handle, found.clone())?;
    Ok(found)
}

/// Holds up to `wanted` blocks that lie together for the file `ino`, as near behind `goal` as there are any, and at least one. The image
/// does not know of it: the data is written to them, then they are [`take`]n by the handle that [`crate::map::insert`]s them, and then
/// what is returned here is dropped. Of a file that goes on where it ended, blocks behind them are kept for it.
///
/// # Errors
/// `ENOSPC`. A commit may help if some are pending.
pub(crate) fn hold(handle: &mut Handle<'_>, ino: u32, goal: u64, wanted: u64) -> Result<Held> {
    let room = handle.room();
    let allowed = allowed(handle)?;
    // Where room is short, the blocks of pointers that lead to them need some too.
    let of_pointers = allowed / handle.geometry().pointers_per_block() + LEVELS;
    let wanted = wanted.min(allowed.saturating_sub(of_pointers)).max(1);
    if let Some(held) = room.hold_from_window(ino, goal, wanted) {
        return Ok(held);
    }
    // What is written once may never grow.
    let double = |size: u64| size.saturating_mul(2).clamp(SMALLEST_WINDOW, LARGEST_WINDOW);
    let size = room.window_size(ino, goal).map_or(0, double);
    let found = find(handle, goal, wanted.max(size))?;
    Ok(room.hold(ino, found, wanted))
}

/// Takes blocks that are held. They stay held besides, so that nobody else gets them if this handle comes to nothing: what is returned by
/// [`hold`] is dropped once it is known.
pub(crate) fn take(handle: &mut Handle<'_>, held: &Held) -> Result<()> {
    take_run(handle, held.blocks())?;
    held.note_taken();
    Ok(())
}

fn take_run(handle: &mut Handle<'_>, blocks: Range<u64>) -> Result<()> {
    handle.geometry().require_free_for_files(blocks.clone(), "a block bitmap")?;
    each_group(handle, blocks, |handle, group, bits| {
        let block = handle.geometry().group(group)?.block_bitmap;
        let bitmap = handle.change(block)?;
        if !bits.clone().all(|bit| set_bit(bitmap, bit)) {
            return Err(Error::corrupt(format!("a block of group {group} is free and in use")));
        }
        groups::count(handle, group, Change { free_blocks: -i64::from(bits.end - bits.start), ..Change::default() })
    })
}

/// Gives blocks back that held a file's content.
pub(crate) fn free_data(handle: &mut Handle<'_>, blocks: Range<u64>) -> Result<()> {
    handle.geometry().require_free_for_files(blocks.clone(), "a file")?;
    each_group(handle, blocks.clone(), |handle, group, bits| {
        let block = handle.geometry().group(group)?.block_bitmap;
        let bitmap = handle.change(block)?;
        if !bits.clone().all(|bit| clear_bit(bitmap, bit)) {
            return Err(Error::corrupt(format!("a block of group {group} is in use and free")));
        }
        handle.room().note_longest(group, None);
        groups::count(handle, group, Change { free_blocks: i64::from(bits.end - bits.start), ..Change::default() })
    })?;
    handle.freed(blocks);
    Ok(())
}

/// Gives a block back that held metadata: of a directory, of pointers, of attributes.
pub(crate) fn free_metadata(handle: &mut Handle<'_>, block: u64) -> Result<()> {
    free_data(handle, block..block + 1)?;
    handle.forget(block);
    Ok(())
}

/// A run of free blocks; at most as many as programs may have.
fn find(handle: &mut Handle<'_>, goal: u64, wanted: u64) -> Result<Range<u64>> {
    let wanted = wanted.min(allowed(handle)?).max(1);
    let mut found = search::find(handle, goal, wanted)?;
    // What is kept for files that may never grow is given to whom needs it now.
    if found.is_none() && handle.room().end_windows() {
        found = search::find(handle, goal, wanted)?;
    }
    let found = found.ok_or(Errno::ENOSPC)?;
    // Data is written there before the bitmap is changed: a bitmap that lies must be found out here.
    handle.geometry().require_free_for_files(found.clone(), "a block bitmap")?;
    Ok(found)
}

/// How many blocks are free for programs, who do not get those that are reserved for root.
fn allowed(handle: &mut Handle<'_>) -> Result<u64> {
    let free = u64::from(handle.superblock()?.s_free_blocks_count_lo.get());
    let kept = handle.geometry().sb.r_blocks_count.saturating_add(handle.room().held());
    free.checked_sub(kept).filter(|allowed| *allowed > 0).ok_or_else(|| Errno::ENOSPC.into())
}

/// Calls `visit` with each group that has some of these blocks, and their bits in its bitmap.
fn each_group(
    handle: &mut Handle<'_>,
    blocks: Range<u64>,
    mut visit: impl FnMut(&mut Handle<'_>, usize, Range<u32>) -> Result<()>,
) -> Result<()> {
    let geometry = handle.geometry();
    let mut rest = blocks;
    while rest.start < rest.end {
        let (group, bit) = geometry.group_of(rest.start);
        let end = geometry.blocks_of(group).end.min(rest.end);
        let bits = bit..bit + u32::try_from(end.saturating_sub(rest.start)).unwrap_or(0);
        if bits.is_empty() {
            return Err(Error::corrupt(format!("block {} does not exist", rest.start)));
        }
        visit(handle, group, bits)?;
        rest.start = end;
    }
    Ok(())
}
