//! From a file's blocks to those of the disk: twelve pointers in the inode, and trees of one, two and three levels behind them.

use nix::errno::Errno;

use crate::error::Result;
use crate::inode::Node;
use crate::store::Handle;

/// Blocks of a file that lie together: on the disk, or in a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// The first of the file's blocks.
    pub(crate) logical: u64,
    /// Where that lies; `None` in a hole.
    pub(crate) physical: Option<u64>,
    /// How many there are.
    pub(crate) blocks: u64,
}

/// Where a file's block lies, and how many of the next lie together with it, at most `most`.
pub(crate) fn find(_handle: &mut Handle<'_>, _node: &Node, _logical: u64, _most: u64) -> Result<Run> {
    Err(Errno::ENOSYS.into())
}

/// Lets blocks that were taken for it stand where the file has a hole. Sets the pointers and `i_blocks`; the node is not written.
///
/// # Errors
/// `EFBIG`, or no room for blocks of pointers (`ENOSPC`).
pub(crate) fn insert(_handle: &mut Handle<'_>, _node: &mut Node, _run: Run) -> Result<()> {
    Err(Errno::ENOSYS.into())
}

/// Takes the content away from block `from` to block `to`, beginning with the last, and gives its blocks back. It stops when the handle
/// has done so much that it should be ended, and returns where: `from` when all of it is gone. The node is not written.
pub(crate) fn punch(_handle: &mut Handle<'_>, _node: &mut Node, _from: u64, _to: u64) -> Result<u64> {
    Err(Errno::ENOSYS.into())
}

/// The block of the disk behind a directory's block, which must not be in a hole.
pub(crate) fn block_of_directory(_handle: &mut Handle<'_>, _node: &Node, _logical: u64) -> Result<u64> {
    Err(Errno::ENOSYS.into())
}

/// Gives a directory one block more at its end, all zeros, and returns its number on the disk. Sets the size; the node is not written.
///
/// # Errors
/// `ENOSPC`.
pub(crate) fn grow_directory(_handle: &mut Handle<'_>, _node: &mut Node) -> Result<u64> {
    Err(Errno::ENOSYS.into())
}
