//! The whole scratch tree.

use std::hash::RandomState;
use std::sync::Arc;

use condatainer_formats::ext::{FileType, Ids};
use parking_lot::RwLock;

use super::data::{Backing, Data};
use super::directory::Directory;
use super::node::{Birth, Body, Node};
use super::nodes::Nodes;
use super::xattrs::Xattrs;
use crate::serve::tree::Answer;

/// A tree with two directories at its top, between which files can be renamed.
#[derive(Debug)]
pub struct Scratch {
    pub(super) data: Data,
    pub(super) nodes: Nodes,
    pub(super) hasher: RandomState,
    /// Held alone by what concerns several directories at once, and together by what concerns one. No content is read or written under it.
    pub(super) structure: RwLock<()>,
    top: (u64, u64),
}

impl Scratch {
    /// An empty one that keeps content in `backing`, at most `limit` bytes. Its top directories belong to `ids`; `mode` is what the root
    /// of the mounted overlay will have.
    #[must_use]
    pub fn new(backing: Backing, limit: Option<u64>, ids: Ids, mode: u16) -> Self {
        let nodes = Nodes::default();
        let directory = |mode| {
            let body = Body::Directory(Box::new(RwLock::new(Directory::new(None))));
            let birth = Birth { kind: FileType::Directory, device: (0, 0), mode, ids, xattrs: Xattrs::default(), body };
            nodes.add(birth).number
        };
        let top = (directory(mode), directory(0o700));
        Self { data: Data::new(backing, limit), nodes, hasher: RandomState::new(), structure: RwLock::new(()), top }
    }

    /// The number of the directory for `upperdir=`.
    #[must_use]
    pub fn upper(&self) -> u64 {
        self.top.0
    }

    /// The number of the directory for `workdir=`.
    #[must_use]
    pub fn work(&self) -> u64 {
        self.top.1
    }

    /// Any node that is known.
    pub(super) fn node(&self, number: u64) -> Answer<Arc<Node>> {
        self.nodes.get(number)
    }

    /// Nobody knows the node any more: its content goes back to the disk.
    pub(super) fn bury(&self, node: &Node) {
        self.nodes.remove(node);
        if let Body::File(content) = &node.body {
            content.write().clear(&self.data);
        }
    }
}
