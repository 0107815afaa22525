//! What chattr(1) has forbidden: changing a file at all (`i`), or but at its end (`a`). Both are flags of inodes of the image that others
//! have set; the answers are the kernel's.

use condatainer_formats::ext::raw::flag;
use nix::errno::Errno;

use crate::error::Result;
use crate::inode::Node;

/// Names may be given in a directory, and a file may grow.
pub(super) fn may_gain(node: &Node) -> Result<()> {
    require_without(node, flag::IMMUTABLE)
}

/// It may be changed in any way: lose names or content, be removed, have another name, say something else of itself.
pub(super) fn may_change(node: &Node) -> Result<()> {
    require_without(node, flag::IMMUTABLE | flag::APPEND)
}

/// Content may be written from `offset` on.
pub(super) fn may_write(node: &Node, offset: u64) -> Result<()> {
    if offset < node.inode()?.size() { may_change(node) } else { may_gain(node) }
}

fn require_without(node: &Node, flags: u32) -> Result<()> {
    if node.inode()?.i_flags.get() & flags == 0 { Ok(()) } else { Err(Errno::EPERM.into()) }
}
