//! What a map says, and what an inode counts of it.

use condatainer_formats::ext::raw::flag;
use nix::errno::Errno;

use crate::error::{Error, Result};
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

/// An error if an inode's content is not found through a block map.
pub(super) fn require_map(node: &Node) -> Result<()> {
    if node.inode()?.i_flags.get() & (flag::EXTENTS | flag::INLINE_DATA) == 0 {
        return Ok(());
    }
    Err(Error::corrupt(format!("inode {} has no block map, as all files of ext3 have", node.ino)))
}

/// Counts blocks that a file has more, in units of 512 bytes.
pub(crate) fn add_blocks(handle: &Handle<'_>, node: &mut Node, blocks: u64) -> Result<()> {
    let sectors = blocks.saturating_mul(u64::from(handle.geometry().sb.block_size / 512));
    let inode = node.inode_mut()?;
    let sum = u64::from(inode.i_blocks_lo.get()).saturating_add(sectors);
    inode.i_blocks_lo.set(u32::try_from(sum).map_err(|_| too_far())?);
    Ok(())
}

/// Counts blocks that a file does not have any more. One that counted too few has none.
pub(crate) fn remove_blocks(handle: &Handle<'_>, node: &mut Node, blocks: u64) -> Result<()> {
    let sectors = blocks.saturating_mul(u64::from(handle.geometry().sb.block_size / 512));
    let inode = node.inode_mut()?;
    let rest = u64::from(inode.i_blocks_lo.get()).saturating_sub(sectors);
    inode.i_blocks_lo.set(u32::try_from(rest).unwrap_or(0));
    Ok(())
}

/// No map leads so far.
pub(super) fn too_far() -> Error {
    Errno::EFBIG.into()
}
