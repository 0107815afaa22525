//! Looking through a map.

use zerocopy::little_endian::U32;

use super::path::{self, DIRECT, Path, pointers};
use super::run::{Run, require_map, too_far};
use crate::error::{Error, Result};
use crate::inode::Node;
use crate::store::Handle;

/// So many pieces of a run are put together at most: each is a look at a block.
const PIECES: usize = 64;

/// Where a file's block lies, and how many of the next lie together with it, at most `most`. The run may end earlier than it could: the
/// next one goes on then.
///
/// # Errors
/// `EFBIG`: no file has such a block.
pub(crate) fn find(handle: &mut Handle<'_>, node: &Node, logical: u64, most: u64) -> Result<Run> {
    let mut run = piece(handle, node, logical, most.max(1))?;
    for _ in 1..PIECES {
        let next = logical.saturating_add(run.blocks);
        if run.blocks >= most || next >= path::addressable(handle.geometry().pointers_per_block()) {
            break;
        }
        let more = piece(handle, node, next, most - run.blocks)?;
        if more.physical != run.physical.map(|first| first + run.blocks) {
            break;
        }
        run.blocks += more.blocks;
    }
    Ok(run)
}

/// What one block of pointers says.
fn piece(handle: &mut Handle<'_>, node: &Node, logical: u64, most: u64) -> Result<Run> {
    let geometry = handle.geometry();
    let path = Path::to(geometry.pointers_per_block(), logical).ok_or_else(too_far)?;
    require_map(node)?;
    let inode = node.inode()?;
    let run = |physical, blocks: u64| Run { logical, physical, blocks: blocks.min(most) };
    let (physical, blocks) = if path.level == 0 {
        together(inode.i_block.get(path.slot..DIRECT as usize).unwrap_or_default(), most)
    } else {
        let mut block = path::top(inode, path.slot)?;
        for level in (1..path.level).rev() {
            if block == 0 {
                return Ok(run(None, path.span(level + 1) - path.before(level + 1)));
            }
            block = path::at(pointers(&read(handle, block)?), path.index(level + 1))?;
        }
        if block == 0 {
            return Ok(run(None, path.span(1) - path.before(1)));
        }
        together(pointers(&read(handle, block)?).get(path.index(1)..).unwrap_or_default(), most)
    };
    let run = run(physical, blocks);
    if let Some(first) = run.physical {
        geometry.require_free_for_files(first..first + run.blocks, "a file")?;
    }
    Ok(run)
}

/// A block of pointers.
pub(super) fn read(handle: &mut Handle<'_>, block: u64) -> Result<crate::store::Bytes> {
    handle.geometry().require_free_for_files(block..block + 1, "a block map")?;
    handle.block(block)
}

/// How many of the first pointers, at most `most`, lead to blocks that lie together, and where; or how many lead nowhere.
fn together(pointers: &[U32], most: u64) -> (Option<u64>, u64) {
    let first = pointers.first().map_or(0, |pointer| u64::from(pointer.get()));
    let is_next = |(distance, pointer): &(u64, &U32)| {
        let pointer = u64::from(pointer.get());
        if first == 0 { pointer == 0 } else { pointer == first + distance }
    };
    let blocks = (0..most).zip(pointers).take_while(is_next).count() as u64;
    ((first != 0).then_some(first), blocks)
}

/// Where a file's block would best lie: behind the one before it, or near those that lead to it, or in the group of the inode.
pub(crate) fn goal(handle: &mut Handle<'_>, node: &Node, logical: u64) -> Result<u64> {
    let before = match logical.checked_sub(1) {
        Some(before) => find(handle, node, before, 1)?.physical,
        None => None,
    };
    if let Some(before) = before {
        return Ok(before + 1);
    }
    let geometry = handle.geometry();
    let path = Path::to(geometry.pointers_per_block(), logical).ok_or_else(too_far)?;
    let inode = node.inode()?;
    let (group, _) = geometry.group_of_inode(node.ino);
    let in_inode =
        if path.level == 0 { &[] } else { inode.i_block.get(DIRECT as usize..path.slot).unwrap_or_default() };
    let direct = inode.i_block.get(..path.slot.min(DIRECT as usize)).unwrap_or_default();
    let mut near = last(in_inode).or_else(|| last(direct)).unwrap_or(geometry.blocks_of(group).start);
    let mut block = path::top(inode, path.slot)?;
    for level in (1..=path.level).rev() {
        if block == 0 {
            break;
        }
        let bytes = read(handle, block)?;
        near = last(pointers(&bytes).get(..path.index(level)).unwrap_or_default()).unwrap_or(block);
        block = path::at(pointers(&bytes), path.index(level))?;
    }
    Ok(near.saturating_add(1).min(geometry.sb.blocks_count.saturating_sub(1)))
}

fn last(pointers: &[U32]) -> Option<u64> {
    pointers.iter().rev().map(|pointer| u64::from(pointer.get())).find(|pointer| *pointer != 0)
}

/// The block of the disk behind a directory's block, which must not be in a hole.
pub(crate) fn block_of_directory(handle: &mut Handle<'_>, node: &Node, logical: u64) -> Result<u64> {
    let run = find(handle, node, logical, 1)?;
    run.physical.ok_or_else(|| Error::corrupt(format!("the directory of inode {} has a hole", node.ino)))
}
