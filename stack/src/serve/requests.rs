//! What each request comes to, without the kernel: whose a number is, the mount's root, and offsets in directories.
//!
//! The root is here; everything below belongs to one of the trees. `kernel` brings the requests and carries the answers.

use std::sync::Arc;

use nix::errno::Errno;

use super::tree::{Answer, Changes, Entry, Listed, New, ROOT, Renaming, Room, Tree, WRITABLE};
use crate::layer::{Attributes, Time};
use condatainer_formats::ext::{FileType, Ids};

/// `.` and `..` come first in every directory, so a tree's places are this much further on.
const DOTS: u64 = 2;
/// The name that the kernel asks for where it has a node by its handle and not by a path, as its overlay has the lower file of one that was
/// copied up: the node itself is meant. Without it that file is stale (`ESTALE`) as soon as its name is looked up anew.
const ITSELF: &[u8] = b"/";
/// Where the kernel's overlay notes which lower file a copied-up one was.
const ORIGIN: &[u8] = b"user.overlay.origin";
/// For a parent that is not known; libfuse says the same.
const UNKNOWN: u64 = 0xFFFF_FFFF;

/// A directory in the mount's root.
pub struct Top {
    /// Its name.
    pub name: &'static str,
    /// The tree's node there.
    pub node: u64,
}

/// The trees, and what stands above them.
pub struct Requests {
    lower: Arc<dyn Tree>,
    writable: Option<Arc<dyn Tree>>,
    tops: Vec<Top>,
    root: Attributes,
    /// Whether what is read and what is written are one tree.
    is_one: bool,
}

impl Requests {
    /// Serves `lower` with its node as `lower`, and perhaps a tree that can be written to, of which each node has a name of its own.
    #[must_use]
    pub fn new(lower: (Arc<dyn Tree>, u64), writable: Option<(Arc<dyn Tree>, Vec<Top>)>, ids: Ids, made: Time) -> Self {
        let (lower, node) = lower;
        let mut tops = vec![Top { name: "lower", node }];
        let writable = writable.map(|(tree, more)| {
            tops.extend(more);
            tree
        });
        let root = Attributes {
            kind: FileType::Directory,
            mode: 0o755,
            ids,
            size: 0,
            blocks: 0,
            links: 2 + tops.len() as u32,
            device: (0, 0),
            accessed: made,
            modified: made,
            changed: made,
        };
        Self { lower, writable, tops, root, is_one: false }
    }

    /// Serves one tree that can be written to, with its root as `lower`: nothing lies above it.
    #[must_use]
    pub fn one(tree: &Arc<dyn Tree>, node: u64, ids: Ids, made: Time) -> Self {
        let both = || Arc::clone(tree);
        Self { is_one: true, ..Self::new((both(), node), Some((both(), Vec::new())), ids, made) }
    }

    /// Whether the kernel's overlay is above what is written.
    #[must_use]
    pub fn are_below_an_overlay(&self) -> bool {
        self.writable.is_some() && !self.is_one
    }

    /// Whether anything can be written.
    #[must_use]
    pub fn can_be_written(&self) -> bool {
        self.writable.is_some()
    }

    /// Whether anything can have extended attributes.
    #[must_use]
    pub fn may_have_xattrs(&self) -> bool {
        self.lower.may_have_xattrs() || self.writable.as_ref().is_some_and(|tree| tree.may_have_xattrs())
    }

    /// The tree that has a node; the root is not in any.
    fn tree(&self, node: u64) -> Answer<&dyn Tree> {
        match node {
            ROOT => Err(Errno::EPERM),
            _ if node & WRITABLE == 0 => Ok(&*self.lower),
            _ => self.writable.as_deref().ok_or(Errno::ESTALE),
        }
    }

    /// For what changes something: in the root nothing can be changed.
    fn writer(&self, node: u64) -> Answer<&dyn Tree> {
        if node == ROOT { Err(Errno::EROFS) } else { self.tree(node) }
    }

    /// LOOKUP.
    ///
    /// # Errors
    /// As [`Tree::lookup`].
    pub fn lookup(&self, directory: u64, name: &[u8]) -> Answer<Entry> {
        if name == ITSELF && directory != ROOT {
            let listed = Listed { name, node: directory, kind: FileType::Unknown, next: 1 };
            return self.tree(directory)?.entry(directory, &listed);
        }
        if directory != ROOT {
            return self.tree(directory)?.lookup(directory, name);
        }
        let top = self.tops.iter().find(|top| top.name.as_bytes() == name).ok_or(Errno::ENOENT)?;
        Ok(Entry { node: top.node, attributes: self.tree(top.node)?.attributes(top.node)? })
    }

    /// FORGET. A tree does not count its own roots.
    pub fn forget(&self, node: u64, count: u64) {
        if let Ok(tree) = self.tree(node) {
            tree.forget(node, count);
        }
    }

    /// As [`Tree::shared`].
    #[must_use]
    pub fn shared(&self, node: u64) -> Option<u64> {
        if node & WRITABLE == 0 { None } else { self.tree(node).ok()?.shared(node) }
    }

    /// As [`Tree::may_change`].
    #[must_use]
    pub fn may_change(&self, node: u64) -> bool {
        node & WRITABLE == 0 && node != ROOT && self.lower.may_change(node)
    }

    /// As [`Tree::any_may_change`].
    #[must_use]
    pub fn any_may_change(&self) -> bool {
        self.lower.any_may_change()
    }

    /// OPEN.
    ///
    /// # Errors
    /// As [`Tree::open`].
    pub fn open(&self, file: u64) -> Answer<()> {
        self.tree(file)?.open(file)
    }

    /// RELEASE.
    pub fn close(&self, file: u64) {
        if let Ok(tree) = self.tree(file) {
            tree.close(file);
        }
    }

    /// GETATTR.
    ///
    /// # Errors
    /// As [`Tree::attributes`].
    pub fn attributes(&self, node: u64) -> Answer<Attributes> {
        if node == ROOT { Ok(self.root) } else { self.tree(node)?.attributes(node) }
    }

    /// What a write asks before it: see [`Tree::has_set_ids`].
    pub(super) fn has_set_ids(&self, node: u64) -> bool {
        self.tree(node).and_then(|tree| tree.has_set_ids(node)).unwrap_or(false)
    }

    /// READDIR: calls `visit` with the names from `from` on, until that returns `false`.
    ///
    /// # Errors
    /// As [`Tree::list`].
    pub fn list(&self, directory: u64, from: u64, visit: &mut dyn FnMut(&Listed<'_>) -> bool) -> Answer<()> {
        for (place, name) in [(0, &b"."[..]), (1, b"..")] {
            let node = if place == 0 || directory == ROOT { directory } else { self.parent(directory) };
            if from <= place && !visit(&Listed { name, node, kind: FileType::Directory, next: place + 1 }) {
                return Ok(());
            }
        }
        let from = from.saturating_sub(DOTS);
        if directory == ROOT {
            self.list_root(from, visit);
            return Ok(());
        }
        self.tree(directory)?
            .list(directory, from, &mut |listed| visit(&Listed { next: listed.next + DOTS, ..*listed }))
    }

    fn list_root(&self, from: u64, visit: &mut dyn FnMut(&Listed<'_>) -> bool) {
        for (place, top) in (0..).zip(&self.tops).skip_while(|(place, _)| *place < from) {
            let (name, next) = (top.name.as_bytes(), place + 1 + DOTS);
            if !visit(&Listed { name, node: top.node, kind: FileType::Directory, next }) {
                break;
            }
        }
    }

    fn parent(&self, directory: u64) -> u64 {
        if self.tops.iter().any(|top| top.node == directory) { ROOT } else { UNKNOWN }
    }

    /// One entry of READDIRPLUS; counted unless it is `.` or `..`, which have no entry.
    ///
    /// # Errors
    /// As [`Tree::entry`].
    pub fn entry(&self, directory: u64, listed: &Listed<'_>) -> Answer<Option<Entry>> {
        match (listed.name, directory) {
            (b"." | b"..", _) => Ok(None),
            (_, ROOT) => self.lookup(ROOT, listed.name).map(Some),
            _ => {
                let listed = Listed { next: listed.next - DOTS, ..*listed };
                self.tree(directory)?.entry(directory, &listed).map(Some)
            }
        }
    }

    /// READ.
    ///
    /// # Errors
    /// As [`Tree::read`].
    pub fn read(&self, file: u64, offset: u64, buf: &mut [u8]) -> Answer<usize> {
        self.not_root(file, Errno::EISDIR)?.read(file, offset, buf)
    }

    /// LSEEK.
    ///
    /// # Errors
    /// As [`Tree::seek`].
    pub fn seek(&self, file: u64, offset: u64, hole: bool) -> Answer<u64> {
        self.not_root(file, Errno::EISDIR)?.seek(file, offset, hole)
    }

    /// READLINK.
    ///
    /// # Errors
    /// As [`Tree::target`].
    pub fn target(&self, link: u64) -> Answer<Vec<u8>> {
        self.not_root(link, Errno::EINVAL)?.target(link)
    }

    /// GETXATTR.
    ///
    /// # Errors
    /// As [`Tree::xattr`].
    pub fn xattr(&self, node: u64, name: &[u8]) -> Answer<Vec<u8>> {
        let tree = self.not_root(node, Errno::ENODATA)?;
        // Each name of a file is a file for the kernel's overlay; with the lower file that it came from they would be one, and so stale.
        if name == ORIGIN && node & WRITABLE != 0 {
            let says = tree.attributes(node)?;
            if says.kind != FileType::Directory && says.links > 1 {
                return Err(Errno::ENODATA);
            }
        }
        tree.xattr(node, name)
    }

    /// LISTXATTR.
    ///
    /// # Errors
    /// As [`Tree::xattrs`].
    pub fn xattrs(&self, node: u64) -> Answer<Vec<u8>> {
        if node == ROOT { Ok(Vec::new()) } else { self.tree(node)?.xattrs(node) }
    }

    /// STATFS. Of the root: what can be written to, where there is something.
    ///
    /// # Errors
    /// A number of no tree.
    pub fn room(&self, node: u64) -> Answer<Room> {
        match node {
            ROOT => Ok(self.writable.as_ref().unwrap_or(&self.lower).room()),
            _ => Ok(self.tree(node)?.room()),
        }
    }

    /// MKNOD, MKDIR and SYMLINK.
    ///
    /// # Errors
    /// As [`Tree::make`].
    pub fn make(&self, directory: u64, name: &[u8], new: &New<'_>) -> Answer<Entry> {
        self.writer(directory)?.make(directory, name, new)
    }

    /// LINK.
    ///
    /// # Errors
    /// As [`Tree::link`], or from one tree to another (`EXDEV`).
    pub fn link(&self, node: u64, directory: u64, name: &[u8]) -> Answer<Entry> {
        self.same_tree(node, directory)?.link(node, directory, name)
    }

    /// UNLINK and RMDIR.
    ///
    /// # Errors
    /// As [`Tree::remove`].
    pub fn remove(&self, directory: u64, name: &[u8], directory_wanted: bool) -> Answer<()> {
        self.writer(directory)?.remove(directory, name, directory_wanted)
    }

    /// RENAME and RENAME2.
    ///
    /// # Errors
    /// As [`Tree::rename`], or from one tree to another (`EXDEV`).
    pub fn rename(&self, from: (u64, &[u8]), to: (u64, &[u8]), how: Renaming) -> Answer<()> {
        self.same_tree(from.0, to.0)?.rename(from, to, how)
    }

    /// SETATTR.
    ///
    /// # Errors
    /// As [`Tree::change`].
    pub fn change(&self, node: u64, changes: &Changes) -> Answer<Attributes> {
        self.writer(node)?.change(node, changes)
    }

    /// WRITE. `whole` is asked for what the kernel had accepted before, of a mapping: it takes any answer but an error for all of it.
    ///
    /// # Errors
    /// As [`Tree::write`]; or there is no room for the `whole`.
    pub fn write(&self, file: u64, offset: u64, data: &[u8], strip: bool, whole: bool) -> Answer<usize> {
        let tree = self.writer(file)?;
        let mut done = tree.write(file, offset, data, strip)?;
        while let Some(rest) = data.get(done..).filter(|rest| whole && !rest.is_empty()) {
            match tree.write(file, offset + done as u64, rest, strip)? {
                0 => return Err(Errno::ENOSPC),
                more => done += more,
            }
        }
        Ok(done)
    }

    /// FALLOCATE.
    ///
    /// # Errors
    /// As [`Tree::allocate`].
    pub fn allocate(&self, file: u64, offset: u64, length: u64, mode: i32, strip: bool) -> Answer<()> {
        self.writer(file)?.allocate(file, offset, length, mode, strip)
    }

    /// SETXATTR.
    ///
    /// # Errors
    /// As [`Tree::set_xattr`].
    pub fn set_xattr(&self, node: u64, name: &[u8], value: &[u8], flags: i32) -> Answer<()> {
        self.writer(node)?.set_xattr(node, name, value, flags)
    }

    /// REMOVEXATTR.
    ///
    /// # Errors
    /// As [`Tree::remove_xattr`].
    pub fn remove_xattr(&self, node: u64, name: &[u8]) -> Answer<()> {
        self.writer(node)?.remove_xattr(node, name)
    }

    /// FSYNC and FSYNCDIR.
    ///
    /// # Errors
    /// As [`Tree::sync`].
    pub fn sync(&self, node: u64, only_data: bool) -> Answer<()> {
        match &self.writable {
            Some(tree) if node & WRITABLE != 0 || self.is_one && node != ROOT => tree.sync(node, only_data),
            // Not what would tell the kernel that nothing ever needs it.
            Some(_) => Ok(()),
            None => Err(Errno::ENOSYS),
        }
    }

    fn not_root(&self, node: u64, otherwise: Errno) -> Answer<&dyn Tree> {
        if node == ROOT { Err(otherwise) } else { self.tree(node) }
    }

    fn same_tree(&self, one: u64, other: u64) -> Answer<&dyn Tree> {
        let tree = self.writer(one)?;
        if other == ROOT || !self.is_one && (one ^ other) & WRITABLE != 0 {
            return Err(Errno::EXDEV);
        }
        Ok(tree)
    }
}
