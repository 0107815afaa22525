//! Who gets which block and which inode.

use std::ops::Range;

use nix::errno::Errno;

use crate::error::Result;
use crate::store::Handle;

/// Takes up to `wanted` blocks that lie together, as near behind `goal` as there are any, and returns at least one.
///
/// # Errors
/// `ENOSPC`.
pub(crate) fn blocks(_handle: &mut Handle<'_>, _goal: u64, _wanted: u64) -> Result<Range<u64>> {
    Err(Errno::ENOSPC.into())
}

/// Gives blocks back that held a file's content.
pub(crate) fn free_data(_handle: &mut Handle<'_>, _blocks: Range<u64>) -> Result<()> {
    Err(Errno::ENOSYS.into())
}

/// Gives a block back that held metadata: of a directory, of pointers, of attributes.
pub(crate) fn free_metadata(_handle: &mut Handle<'_>, _block: u64) -> Result<()> {
    Err(Errno::ENOSYS.into())
}

/// Takes an inode for something that will be made in the directory `parent`. Its record is zeros, but for its generation.
///
/// # Errors
/// `ENOSPC`.
pub(crate) fn inode(_handle: &mut Handle<'_>, _parent: u32, _is_directory: bool) -> Result<u32> {
    Err(Errno::ENOSPC.into())
}

/// Gives an inode back.
pub(crate) fn free_inode(_handle: &mut Handle<'_>, _ino: u32, _was_directory: bool) -> Result<()> {
    Err(Errno::ENOSYS.into())
}
