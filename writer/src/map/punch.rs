//! Taking content away, from its end.

use condatainer_formats::ext::raw::FileType;

use super::find::read;
use super::path::{self, DIRECT, Path, addressable, pointers, pointers_mut};
use super::run::{remove_blocks, require_map};
use crate::alloc;
use crate::error::{Error, Result};
use crate::inode::Node;
use crate::store::Handle;

/// A handle that has changed so many blocks is ended.
const BUDGET: usize = 64;
/// So many blocks of metadata are freed at once: each of them is work for the journal.
const METADATA_AT_ONCE: u64 = 16;

/// Takes the content away from block `from` to block `to`, beginning with the last, and gives its blocks back. It stops when the handle
/// has done so much that it should be ended, and returns where: `from` when all of it is gone. The node is not written.
pub(crate) fn punch(handle: &mut Handle<'_>, node: &mut Node, from: u64, to: u64) -> Result<u64> {
    require_map(node)?;
    let mut end = to.min(addressable(handle.geometry().pointers_per_block()));
    // Holes cost nothing but time; a hostile map may have many.
    let mut steps = 0;
    while end > from {
        end = step(handle, node, from, end)?;
        steps += 1;
        if end > from && (handle.effort() >= BUDGET || steps >= 1024) {
            return Ok(end);
        }
    }
    Ok(from)
}

/// Takes the last blocks before `end` away that lie together, or passes a hole. Returns how far that went.
fn step(handle: &mut Handle<'_>, node: &mut Node, from: u64, end: u64) -> Result<u64> {
    let (last, most, at_once) = (end - 1, end - from, most_at_once(node)?);
    let path =
        Path::to(handle.geometry().pointers_per_block(), last).ok_or_else(|| Error::corrupt("a map has no end"))?;
    if path.level == 0 {
        let direct = node.inode_mut()?.i_block.get_mut(..=path.slot.min(DIRECT as usize - 1)).unwrap_or_default();
        let (run, passed) = clear(direct, most, at_once)?;
        free(handle, node, run)?;
        return Ok(end - passed);
    }
    let mut way = vec![path::top(node.inode()?, path.slot)?];
    for level in (2..=path.level).rev() {
        let block = way.last().copied().unwrap_or(0);
        if block != 0 {
            way.push(path::at(pointers(&read(handle, block)?), path.index(level))?);
        }
    }
    let leaf = way.last().copied().unwrap_or(0);
    if leaf == 0 {
        let level = path.level + 1 - way.len() as u32;
        way.pop();
        prune(handle, node, &path, &way)?;
        return Ok(end - (path.before(level) + 1).min(most));
    }
    let first = (path.index(1) + 1).saturating_sub(usize::try_from(most).unwrap_or(usize::MAX));
    let bytes = read(handle, leaf)?;
    let is_empty = pointers(&bytes).get(first..=path.index(1)).is_none_or(|part| part.iter().all(|p| p.get() == 0));
    let (run, passed) = if is_empty {
        (0..0, (path.before(1) + 1).min(most))
    } else {
        let before = pointers_mut(handle.change(leaf)?).get_mut(..=path.index(1)).unwrap_or_default();
        clear(before, most, at_once)?
    };
    free(handle, node, run)?;
    if passed == most || passed > path.before(1) {
        prune(handle, node, &path, &way)?;
    }
    Ok(end - passed)
}

fn most_at_once(node: &Node) -> Result<u64> {
    Ok(if is_metadata(node)? { METADATA_AT_ONCE } else { u64::MAX })
}

/// Whether a file's blocks were written through the journal: those of directories and of symbolic links.
fn is_metadata(node: &Node) -> Result<bool> {
    Ok(matches!(node.inode()?.file_type(), FileType::Directory | FileType::Symlink))
}

/// Clears the last pointers as far as they lead to blocks that lie together, or nowhere. Returns those blocks, and how many pointers.
fn clear(
    pointers: &mut [zerocopy::little_endian::U32],
    most: u64,
    at_once: u64,
) -> Result<(std::ops::Range<u64>, u64)> {
    let last = pointers.last().map_or(0, |pointer| u64::from(pointer.get()));
    let most = if last == 0 { most } else { most.min(at_once) };
    let mut passed = 0;
    for pointer in pointers.iter_mut().rev() {
        let is_next =
            if last == 0 { pointer.get() == 0 } else { last.checked_sub(passed) == Some(pointer.get().into()) };
        if passed == most || !is_next || (last != 0 && pointer.get() == 0) {
            break;
        }
        pointer.set(0);
        passed += 1;
    }
    let first = (last + 1).saturating_sub(passed);
    if passed == 0 {
        Err(Error::corrupt("a block of pointers is too short"))
    } else {
        Ok((first..if last == 0 { first } else { last + 1 }, passed))
    }
}

/// Gives blocks of the file back.
fn free(handle: &mut Handle<'_>, node: &mut Node, run: std::ops::Range<u64>) -> Result<()> {
    if run.is_empty() {
        return Ok(());
    }
    remove_blocks(handle, node, run.end - run.start)?;
    if is_metadata(node)? {
        return run.into_iter().try_for_each(|block| alloc::free_metadata(handle, block));
    }
    alloc::free_data(handle, run)
}

/// Gives blocks of pointers back that lead nowhere, beginning with the last on the way.
fn prune(handle: &mut Handle<'_>, node: &mut Node, path: &Path, way: &[u64]) -> Result<()> {
    for (depth, block) in way.iter().enumerate().rev() {
        if pointers(&read(handle, *block)?).iter().any(|pointer| pointer.get() != 0) {
            return Ok(());
        }
        match depth.checked_sub(1).and_then(|above| way.get(above)) {
            Some(above) => {
                let index = path.index(path.level - (depth as u32 - 1));
                path::set_at(pointers_mut(handle.change(*above)?), index, 0)?;
            }
            None => path::set_top(node.inode_mut()?, path.slot, 0)?,
        }
        alloc::free_metadata(handle, *block)?;
        remove_blocks(handle, node, 1)?;
    }
    Ok(())
}
