//! One thing in the merged tree.

use std::rc::Rc;

use condatainer_formats::ext::{FileType, Ids};
use condatainer_formats::overlayfs::is_whiteout;
use condatainer_formats::squashfs::Reference;

/// What is at a path of the merged tree, as the topmost layer that has it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LowerNode {
    /// What it is.
    pub kind: FileType,
    /// In bytes: of a file its content, of a link its target; of a directory it means nothing.
    pub size: u64,
    /// Permission bits (the low twelve).
    pub mode: u16,
    /// Owner and group.
    pub ids: Ids,
    /// Last change of the content, in seconds since 1970.
    pub mtime: i64,
    /// Number of names.
    pub links: u32,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Where a symbolic link leads.
    pub target: Option<Vec<u8>>,
    /// Whether `ids` are those of the machine, in a directory, instead of those that a container is shown.
    pub host_ids: bool,
    /// Which layer has it, counted from the lowest.
    pub layer: usize,
    /// Where in that layer it lies.
    pub(super) at: At,
}

/// Where a layer keeps something.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum At {
    /// An inode of an ext image.
    Inode(u32),
    /// An inode of a squashfs.
    Reference(Reference),
    /// A path in a directory.
    Path(Rc<[u8]>),
}

impl LowerNode {
    /// OverlayFS's own whiteout: a character device 0/0.
    pub(super) fn is_kernel_whiteout(&self) -> bool {
        is_whiteout(self.kind, self.device)
    }
}
