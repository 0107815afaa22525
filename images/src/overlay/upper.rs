//! One directory of an image's upper directory, its names sorted by what they mean to an overlay.

use std::collections::BTreeSet;

use condatainer_formats::ext::{ExtError, Name, Node, Tree, Xattr};
use condatainer_formats::overlayfs::{self, Meaning, is_opaque, may_be_users, meaning};

/// The names of one directory.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Those that are ordinary, with their inodes, sorted. What such an inode is decides whether it is the kernel's whiteout.
    pub(crate) real: Vec<(u32, Vec<u8>)>,
    /// Those that a file `.wh.NAME` hides.
    pub(crate) hidden: BTreeSet<Vec<u8>>,
    /// Whether nothing below the directory shows, by an attribute or by `.wh..wh..opq`.
    pub(crate) opaque: bool,
}

/// Whether what has the name of a mark is a user's and marks nothing. What cannot be read is no user's.
pub(crate) fn is_users(tree: &Tree<'_>, ino: u32) -> bool {
    let node = tree.node(ino).ok().filter(|node| may_be_users(Some(node.kind)));
    node.and_then(|node| tree.xattrs(&node).ok()).is_some_and(|xattrs| xattrs.iter().any(overlayfs::is_users))
}

impl Names {
    /// Reads `directory`, which has these attributes.
    pub(crate) fn of(tree: &Tree<'_>, directory: &Node, xattrs: &[Xattr]) -> Result<Self, ExtError> {
        let mut names = Self { opaque: xattrs.iter().any(is_opaque), ..Self::default() };
        for Name { name, ino } in tree.names(directory)? {
            match meaning(&name) {
                Meaning::Opaque | Meaning::Hides(_) if is_users(tree, ino) => names.real.push((ino, name)),
                Meaning::Opaque => names.opaque = true,
                Meaning::Hides(hidden) => {
                    names.hidden.insert(hidden.to_vec());
                }
                Meaning::Itself => names.real.push((ino, name)),
            }
        }
        Ok(names)
    }
}
