//! What the kernel's OverlayFS leaves where something was: a device 0/0.

use condatainer_formats::ext::FileType;

use super::plain::{MOST_LINKS, New, is_a_whiteout, make_node};
use crate::error::Result;
use crate::inode::Node;
use crate::store::Handle;

/// A whiteout with one name more. All share an inode, as far as that has names: what is deleted is to take no room.
pub(super) fn another(handle: &mut Handle<'_>, parent: &mut Node, like: u32) -> Result<u32> {
    if like != 0 {
        let mut node = Node::read(handle, like)?;
        let links = node.links()?;
        if (1..MOST_LINKS).contains(&links) && is_a_whiteout(handle, &node)? {
            node.set_links(links + 1)?;
            node.write(handle)?;
            return Ok(like);
        }
    }
    let ids = parent.inode()?.ids();
    let new = New { kind: FileType::CharDevice, mode: 0, ids, device: (0, 0), target: &[], xattrs: &[] };
    Ok(make_node(handle, parent, &new)?.ino)
}
