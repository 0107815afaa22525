//! The blocks of a directory.

use std::collections::HashSet;
use std::ops::ControlFlow;

use crate::error::{Error, Result};
use crate::inode::Node;
use crate::map;
use crate::store::{Bytes, Handle};

/// One block of a directory.
#[derive(Debug, Clone)]
pub(super) struct Block {
    /// Its place in the directory.
    pub(super) logical: u64,
    /// Its number on the disk.
    pub(super) physical: u64,
    pub(super) bytes: Bytes,
}

/// How many there are.
pub(super) fn count(handle: &Handle<'_>, dir: &Node) -> Result<u64> {
    Ok(dir.inode()?.size().div_ceil(u64::from(handle.geometry().sb.block_size)))
}

pub(super) fn read(handle: &mut Handle<'_>, dir: &Node, logical: u64) -> Result<Block> {
    if logical >= count(handle, dir)? {
        return Err(Error::corrupt("a directory ends before one of its blocks"));
    }
    let physical = map::block_of_directory(handle, dir, logical)?;
    Ok(Block { logical, physical, bytes: handle.block(physical)? })
}

/// Adds a block at the end, all zeros, and returns its place in the directory and its number on the disk.
pub(super) fn append(handle: &mut Handle<'_>, dir: &mut Node) -> Result<(u64, u64)> {
    let logical = count(handle, dir)?;
    Ok((logical, map::grow_directory(handle, dir)?))
}

/// Calls `visit` with each block from number `from` on, until it breaks, and returns what it broke with.
///
/// No block may come twice: so an absurd size and pointers that go in circles end when the blocks of the file system do.
pub(super) fn each<T>(
    handle: &mut Handle<'_>,
    dir: &Node,
    from: u64,
    mut visit: impl FnMut(&Block) -> Result<ControlFlow<T>>,
) -> Result<Option<T>> {
    let (mut seen, count) = (HashSet::new(), count(handle, dir)?);
    for logical in from..count {
        let block = read(handle, dir, logical)?;
        if count > 1 && !seen.insert(block.physical) {
            return Err(Error::corrupt("a directory has the same block twice"));
        }
        if let ControlFlow::Break(value) = visit(&block)? {
            return Ok(Some(value));
        }
    }
    Ok(None)
}
