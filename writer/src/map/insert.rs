//! Letting blocks stand where a file has a hole.

use nix::errno::Errno;

use super::find::{goal, read};
use super::path::{self, DIRECT, Path, pointers, pointers_mut};
use super::run::{Run, add_blocks, require_map, too_far};
use crate::alloc;
use crate::error::{Error, Result};
use crate::inode::Node;
use crate::store::Handle;

/// A directory is not longer than that.
const LONGEST_DIRECTORY: u64 = i32::MAX as u64;

/// Lets blocks that were taken for it stand where the file has a hole. Sets the pointers and `i_blocks`; the node is not written.
///
/// # Errors
/// `EFBIG`, or no room for blocks of pointers (`ENOSPC`). The node is of no use then.
pub(crate) fn insert(handle: &mut Handle<'_>, node: &mut Node, run: Run) -> Result<()> {
    let geometry = handle.geometry();
    require_map(node)?;
    let first = run.physical.ok_or_else(|| Error::corrupt("a hole is no block"))?;
    geometry.require_free_for_files(first..first.saturating_add(run.blocks), "a file")?;
    let mut done = 0;
    while done < run.blocks {
        let path = Path::to(geometry.pointers_per_block(), run.logical.saturating_add(done)).ok_or_else(too_far)?;
        let (physical, left) = (first + done, run.blocks - done);
        done += if path.level == 0 {
            let direct = node.inode_mut()?.i_block.get_mut(path.slot..DIRECT as usize).unwrap_or_default();
            fill(direct, physical, left)?
        } else {
            let leaf = leaf(handle, node, &path, physical)?;
            fill(pointers_mut(handle.change(leaf)?).get_mut(path.index(1)..).unwrap_or_default(), physical, left)?
        };
    }
    add_blocks(handle, node, run.blocks)
}

/// Lets pointers lead to blocks that lie together; returns how many there was room for.
fn fill(pointers: &mut [zerocopy::little_endian::U32], first: u64, most: u64) -> Result<u64> {
    let room = pointers.len().min(usize::try_from(most).unwrap_or(usize::MAX));
    for (index, block) in (0..room).zip(first..) {
        if path::at(pointers, index)? != 0 {
            return Err(Error::corrupt("a file's block is in a hole and is not"));
        }
        path::set_at(pointers, index, block)?;
    }
    if room == 0 { Err(Error::corrupt("a block of pointers is too short")) } else { Ok(room as u64) }
}

/// The last block of pointers on a way, which is made with those before it if need be.
fn leaf(handle: &mut Handle<'_>, node: &mut Node, path: &Path, near: u64) -> Result<u64> {
    let mut block = path::top(node.inode()?, path.slot)?;
    if block == 0 {
        block = fresh(handle, node, near)?;
        path::set_top(node.inode_mut()?, path.slot, block)?;
    }
    for level in (2..=path.level).rev() {
        let mut next = path::at(pointers(&read(handle, block)?), path.index(level))?;
        if next == 0 {
            next = fresh(handle, node, near)?;
            path::set_at(pointers_mut(handle.change(block)?), path.index(level), next)?;
        }
        block = next;
    }
    handle.geometry().require_free_for_files(block..block + 1, "a block map")?;
    Ok(block)
}

fn fresh(handle: &mut Handle<'_>, node: &mut Node, near: u64) -> Result<u64> {
    let block = alloc::blocks(handle, near, 1)?.start;
    handle.fresh(block)?;
    add_blocks(handle, node, 1)?;
    Ok(block)
}

/// Gives a directory one block more at its end, all zeros, and returns its number on the disk. Sets the size; the node is not written.
///
/// # Errors
/// `ENOSPC`.
pub(crate) fn grow_directory(handle: &mut Handle<'_>, node: &mut Node) -> Result<u64> {
    let (block_size, size) = (u64::from(handle.geometry().sb.block_size), node.inode()?.size());
    if size.saturating_add(block_size) > LONGEST_DIRECTORY {
        return Err(Errno::ENOSPC.into());
    }
    let block = append(handle, node, size.div_ceil(block_size))?;
    node.inode_mut()?.set_size((size / block_size + 1) * block_size);
    Ok(block)
}

/// Makes a symbolic link lead to `target`. A short one lies in the inode; a long one in a block that is metadata, so that a crash cannot
/// part it from its link. Sets the size; the node is not written.
///
/// # Errors
/// `ENAMETOOLONG`, `ENOSPC`.
pub(crate) fn set_target(handle: &mut Handle<'_>, node: &mut Node, target: &[u8]) -> Result<()> {
    if target.len() >= handle.geometry().block_size() {
        return Err(Errno::ENAMETOOLONG.into());
    }
    let inode = node.inode_mut()?;
    inode.set_size(target.len() as u64);
    if target.len() < size_of_val(&inode.i_block) {
        for (pointer, four) in inode.i_block.iter_mut().zip(target.chunks(4)) {
            let mut bytes = [0; 4];
            bytes.iter_mut().zip(four).for_each(|(to, from)| *to = *from);
            *pointer = bytes.into();
        }
        return Ok(());
    }
    let block = append(handle, node, 0)?;
    handle.change(block)?.iter_mut().zip(target).for_each(|(to, from)| *to = *from);
    Ok(())
}

/// A new block of metadata for a file.
fn append(handle: &mut Handle<'_>, node: &mut Node, logical: u64) -> Result<u64> {
    let goal = goal(handle, node, logical)?;
    let block = alloc::blocks(handle, goal, 1)?.start;
    handle.fresh(block)?;
    insert(handle, node, Run { logical, physical: Some(block), blocks: 1 })?;
    Ok(block)
}
