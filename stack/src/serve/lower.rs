//! The merged layers as a tree of the server: nodes with numbers, ids that are shown, and trouble that is told.
//!
//! A file's number is its layer's and its place there, so nothing has to be remembered of it. Only directories that several layers
//! share are kept, as long as the kernel has them.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;

use super::tree::{Answer, Entry, Listed, Room, SHARED, Tree};
use super::trouble::Trouble;
use crate::ids::Show;
use crate::layer::{Attributes, Key};
use crate::merge::{Merged, Named, Node, Part, Way};
use condatainer_formats::ext::{FileType, Ids, Xattr};
use condatainer_formats::overlayfs::{is_private, is_users};

const KEY_BITS: u32 = 48;
const KEY: u64 = (1 << KEY_BITS) - 1;
const BLOCK: u32 = 4096;

/// The layers as one tree.
pub struct Lower {
    merged: Merged,
    show: Show,
    root: u64,
    shared: Mutex<HashMap<u64, Known>>,
    trouble: Arc<Trouble>,
}

/// A directory that several layers share, and how often the kernel has been given it.
struct Known {
    parts: Arc<[Part]>,
    count: u64,
}

impl Lower {
    /// Serves a merged tree.
    #[must_use]
    pub fn new(merged: Merged, show: Show, trouble: Arc<Trouble>) -> Self {
        let root = number(merged.root());
        Self { merged, show, root, shared: Mutex::default(), trouble }
    }

    /// The number of the root directory, which is always known.
    #[must_use]
    pub fn root(&self) -> u64 {
        self.root
    }

    /// How many shared directories the kernel has.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn node(&self, number: u64) -> Answer<Node> {
        if number == self.root {
            return Ok(self.merged.root().clone());
        }
        if number & SHARED != 0 {
            let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            return shared.get(&number).map(|known| Node::Several(Arc::clone(&known.parts))).ok_or(Errno::ESTALE);
        }
        let layer = (number >> KEY_BITS).checked_sub(1).and_then(|layer| u16::try_from(layer).ok());
        let layer = layer.filter(|layer| usize::from(*layer) < self.merged.layers().len()).ok_or(Errno::ESTALE)?;
        Ok(Node::One(Part { layer, key: Key(number & KEY) }))
    }

    /// What the kernel is given of a node, which is counted.
    fn give(&self, node: &Node) -> Answer<Entry> {
        let node = &self.told(self.merged.inode(node))?;
        let attributes = self.shown(node)?;
        let number = number(node);
        let Node::Several(parts) = node else { return Ok(Entry { node: number, attributes }) };
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let known = shared.entry(number).or_insert_with(|| Known { parts: Arc::clone(parts), count: 0 });
        if known.parts != *parts && self.merged.may_change(node) {
            known.parts = Arc::clone(parts);
        }
        if known.parts != *parts {
            // In a sound image a directory has one name, and so one directory of each other layer under it.
            return Err(self.trouble.told(io::Error::other("an image is damaged: a directory has two names")));
        }
        known.count = known.count.saturating_add(1);
        Ok(Entry { node: number, attributes })
    }

    fn shown(&self, node: &Node) -> Answer<Attributes> {
        let says = self.told(self.merged.attributes(node))?;
        Ok(Attributes { ids: self.show.ids(says.ids), ..says })
    }

    /// Attributes that are shown, with values that can be understood.
    fn visible_xattrs(&self, node: u64) -> Answer<Vec<Xattr>> {
        let node = self.node(node)?;
        let mut xattrs = self.told(self.merged.xattrs(&node))?;
        xattrs.retain(|xattr| self.show.shows_xattr(&xattr.name) && !is_users(xattr));
        let acls = xattrs.iter_mut().filter(|xattr| xattr.name.starts_with(b"system.posix_acl_"));
        acls.for_each(|acl| self.show.translate_acl(&mut acl.value));
        Ok(xattrs)
    }

    fn told<T>(&self, result: io::Result<T>) -> Answer<T> {
        result.map_err(|error| self.trouble.told(error))
    }
}

/// Nobody in the container is told of it.
fn is_hidden(xattr: &Xattr) -> bool {
    is_private(xattr) || is_users(xattr)
}

/// The number of a node: its layer and place, and a mark where several layers have it. It is never that of the mount's root.
fn number(node: &Node) -> u64 {
    let Part { layer, key } = node.topmost();
    let shared = if matches!(node, Node::Several(_)) { SHARED } else { 0 };
    shared | (u64::from(layer) + 1) << KEY_BITS | key.0 & KEY
}

impl Tree for Lower {
    fn lookup(&self, directory: u64, name: &[u8]) -> Answer<Entry> {
        let found = self.told(self.merged.lookup(&self.node(directory)?, name))?;
        self.give(&found.ok_or(Errno::ENOENT)?)
    }

    fn entry(&self, directory: u64, listed: &Listed<'_>) -> Answer<Entry> {
        // A number says all of a node, unless several layers have it.
        if listed.node & SHARED == 0 || listed.node == directory {
            self.give(&self.node(listed.node)?)
        } else {
            self.lookup(directory, listed.name)
        }
    }

    fn forget(&self, node: u64, count: u64) {
        if node & SHARED == 0 {
            return;
        }
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = shared.get_mut(&node) else { return };
        known.count = known.count.saturating_sub(count);
        if known.count == 0 {
            shared.remove(&node);
        }
    }

    fn may_change(&self, node: u64) -> bool {
        self.node(node).is_ok_and(|node| self.merged.may_change(&node))
    }

    fn any_may_change(&self) -> bool {
        self.merged.any_may_change()
    }

    fn open(&self, file: u64) -> Answer<()> {
        self.told(self.merged.hold(&self.node(file)?))
    }

    fn close(&self, file: u64) {
        if let Ok(node) = self.node(file) {
            self.merged.release(&node);
        }
    }

    fn attributes(&self, node: u64) -> Answer<Attributes> {
        self.shown(&self.node(node)?)
    }

    fn list(&self, directory: u64, from: u64, visit: &mut dyn FnMut(&Listed<'_>) -> bool) -> Answer<()> {
        let node = self.node(directory)?;
        // A place means something in the listing that was begun with.
        let listing = if from == 0 { self.merged.list(&node) } else { self.merged.list_on(&node) };
        let listing = self.told(listing)?;
        let mut place = usize::try_from(from).map_err(|_| Errno::EINVAL)?;
        while let Some(Named { name, node, kind }) = listing.get(place) {
            place += 1;
            if !visit(&Listed { name, node: number(&node), kind, next: place as u64 }) {
                break;
            }
        }
        Ok(())
    }

    fn read(&self, file: u64, offset: u64, buf: &mut [u8]) -> Answer<usize> {
        self.told(self.merged.read(&self.node(file)?, offset, buf))
    }

    fn seek(&self, file: u64, offset: u64, hole: bool) -> Answer<u64> {
        self.told(self.merged.seek(&self.node(file)?, offset, hole))?.ok_or(Errno::ENXIO)
    }

    fn target(&self, link: u64) -> Answer<Vec<u8>> {
        self.told(self.merged.target(&self.node(link)?))
    }

    fn may_have_xattrs(&self) -> bool {
        self.merged.may_have_xattrs()
    }

    fn xattr(&self, node: u64, name: &[u8]) -> Answer<Vec<u8>> {
        // The kernel's overlay above asks for its own in every directory.
        if !self.show.shows_xattr(name) || is_hidden(&Xattr { name: name.to_vec(), value: Vec::new() }) {
            return Err(Errno::ENODATA);
        }
        let found = self.visible_xattrs(node)?.into_iter().find(|xattr| xattr.name == name);
        found.map(|xattr| xattr.value).ok_or(Errno::ENODATA)
    }

    fn xattrs(&self, node: u64) -> Answer<Vec<u8>> {
        let names = self.visible_xattrs(node)?.into_iter();
        Ok(names.flat_map(|xattr| xattr.name.into_iter().chain([0])).collect())
    }

    fn room(&self) -> Room {
        let bytes: u64 = self.merged.layers().iter().map(|stacked| stacked.bytes).sum();
        Room { block: BLOCK, blocks: bytes.div_ceil(BLOCK.into()), free: 0, inodes: 0, free_inodes: 0 }
    }
}

impl Lower {
    /// What the layers have under a name of a directory: its number, which is not counted, and what it is.
    pub(crate) fn find(&self, directory: u64, name: &[u8]) -> Answer<Option<(u64, FileType)>> {
        let Some(node) = self.told(self.merged.lookup(&self.node(directory)?, name))? else { return Ok(None) };
        let node = self.told(self.merged.inode(&node))?;
        let says = self.told(self.merged.attributes(&node))?;
        Ok(Some((number(&node), says.kind)))
    }

    /// See [`Merged::ways_to`].
    pub(crate) fn ways_to(&self, file: u64, go_on: &dyn Fn() -> bool) -> Answer<Option<Vec<Way>>> {
        Ok(self.merged.ways_to(&self.node(file)?, go_on))
    }

    /// Whether a directory's listing has a name, and how many there are in it.
    pub(crate) fn listed(&self, directory: u64, name: &[u8]) -> Answer<(bool, u64)> {
        let listing = self.told(self.merged.list_on(&self.node(directory)?))?;
        Ok((listing.find(name).is_some(), listing.len() as u64))
    }

    /// Whose the mount's own directories are shown to be.
    #[must_use]
    pub fn ids_of_root(&self) -> Ids {
        self.show.ids(Ids::ROOT)
    }
}
