//! One inode: what is said of it, and what is in it.
//!
//! Locks are taken in this order: a directory's names or a file's content, then what is said of one inode. Nothing is locked after that.

use std::ops::Deref;
use std::sync::Arc;

use condatainer_formats::ext::{FileType, Ids};
use nix::errno::Errno;
use nix::time::{ClockId, clock_gettime};
use parking_lot::{Mutex, RwLock};

use super::data::Content;
use super::directory::Directory;
use super::xattrs::Xattrs;
use crate::layer::{Attributes, Time};
use crate::serve::tree::{Answer, Entry};

/// So many names a file may have, as on ext4. The kernel's OverlayFS takes a new whiteout when this is reached.
const MOST_LINKS: u32 = 65_000;
/// What stat(2) shows as the size of any directory.
const DIRECTORY_SIZE: u64 = 4096;

/// An inode.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) number: u64,
    pub(super) kind: FileType,
    device: (u32, u32),
    pub(super) body: Body,
    pub(super) meta: Mutex<Meta>,
}

/// What a name stands for, and the number by which the kernel knows it under that name.
///
/// The kernel's OverlayFS keeps a file under the name by which it has found it first, and loses it (`ESTALE`) when that name is
/// removed, also under its other names. So each further name of a file has a number of its own, and is a file of its own for the kernel, which
/// asks each time what has become of it; all of them show one inode number.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) node: Arc<Node>,
    pub(super) number: u64,
}

impl Named {
    pub(super) fn first(node: Arc<Node>) -> Self {
        let number = node.number;
        Self { node, number }
    }

    /// As [`Node::count`].
    pub(super) fn count(&self) -> Answer<Entry> {
        Ok(Entry { node: self.number, ..self.node.count()? })
    }
}

impl Deref for Named {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

/// What is in an inode.
#[derive(Debug)]
pub(super) enum Body {
    File(RwLock<Content>),
    Directory(Box<RwLock<Directory<Named>>>),
    Link(Box<[u8]>),
    Special,
}

/// What changes of what an inode says.
#[derive(Debug)]
pub(super) struct Meta {
    pub(super) mode: u16,
    pub(super) ids: Ids,
    pub(super) links: u32,
    /// How often the kernel was given it.
    lookups: u64,
    pub(super) size: u64,
    /// Of the data file.
    pub(super) blocks: u64,
    pub(super) accessed: Time,
    pub(super) modified: Time,
    pub(super) changed: Time,
    pub(super) xattrs: Xattrs,
    /// More numbers by which the kernel knows it.
    #[allow(clippy::box_collection, reason = "a word where there is nothing, not three")]
    pub(super) aliases: Option<Box<Vec<u64>>>,
}

/// What makes a node.
#[derive(Debug)]
pub(super) struct Birth {
    pub(super) kind: FileType,
    pub(super) device: (u32, u32),
    pub(super) mode: u16,
    pub(super) ids: Ids,
    pub(super) xattrs: Xattrs,
    pub(super) body: Body,
}

impl Node {
    pub(super) fn new(number: u64, birth: Birth) -> Self {
        let Birth { kind, device, mode, ids, xattrs, body } = birth;
        let (size, links) = match &body {
            Body::Link(target) => (target.len() as u64, 1),
            Body::Directory(_) => (DIRECTORY_SIZE, 2),
            _ => (0, 1),
        };
        let (accessed, modified, changed) = (now(), now(), now());
        let (lookups, blocks, aliases) = (0, 0, None);
        let meta = Meta { mode, ids, links, lookups, size, blocks, accessed, modified, changed, xattrs, aliases };
        Self { number, kind, device, body, meta: Mutex::new(meta) }
    }

    pub(super) fn file(&self) -> Answer<&RwLock<Content>> {
        match &self.body {
            Body::File(content) => Ok(content),
            Body::Directory(_) => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }

    pub(super) fn directory(&self) -> Answer<&RwLock<Directory<Named>>> {
        match &self.body {
            Body::Directory(names) => Ok(names),
            _ => Err(Errno::ENOTDIR),
        }
    }

    pub(super) fn is_directory(&self) -> bool {
        matches!(self.body, Body::Directory(_))
    }

    pub(super) fn attributes(&self) -> Attributes {
        self.show(&self.meta.lock())
    }

    pub(super) fn show(&self, meta: &Meta) -> Attributes {
        Attributes {
            kind: self.kind,
            mode: meta.mode,
            ids: meta.ids,
            size: meta.size,
            blocks: meta.blocks * 8,
            links: meta.links,
            device: self.device,
            accessed: meta.accessed,
            modified: meta.modified,
            changed: meta.changed,
        }
    }

    /// Gives it to the kernel. One without a name is not given any more.
    pub(super) fn count(&self) -> Answer<Entry> {
        let mut meta = self.meta.lock();
        if meta.links == 0 {
            return Err(Errno::ENOENT);
        }
        meta.lookups += 1;
        Ok(Entry { node: self.number, attributes: self.show(&meta) })
    }

    /// The kernel has `count` fewer of it. It returns whether nobody knows the node any more.
    pub(super) fn forget(&self, count: u64) -> bool {
        let mut meta = self.meta.lock();
        meta.lookups = meta.lookups.saturating_sub(count);
        meta.lookups == 0 && meta.links == 0
    }

    /// One name more, not of a directory.
    pub(super) fn link(&self) -> Answer<()> {
        let mut meta = self.meta.lock();
        match meta.links {
            0 => return Err(Errno::ENOENT),
            MOST_LINKS.. => return Err(Errno::EMLINK),
            _ => meta.links += 1,
        }
        meta.changed = now();
        Ok(())
    }

    /// One name fewer, or none for a directory. It returns whether nobody knows the node any more.
    pub(super) fn unlink(&self) -> bool {
        let mut meta = self.meta.lock();
        meta.links = if self.is_directory() { 0 } else { meta.links.saturating_sub(1) };
        meta.changed = now();
        meta.lookups == 0 && meta.links == 0
    }

    /// A directory's names have changed; it has so many more directories, or fewer.
    pub(super) fn names_changed(&self, directories: i32) {
        let mut meta = self.meta.lock();
        meta.links = meta.links.saturating_add_signed(directories);
        (meta.modified, meta.changed) = (now(), now());
    }
}

impl Meta {
    /// The content has changed. Where the kernel has it under several numbers, the time tells one that another has been written to.
    pub(super) fn touch(&mut self) {
        let (time, last) = (now(), self.modified);
        (self.modified, self.changed) = (time, time);
        if self.aliases.is_some() && (time.seconds, time.nanoseconds) <= (last.seconds, last.nanoseconds) {
            let (carry, nanoseconds) = ((last.nanoseconds + 1) / 1_000_000_000, (last.nanoseconds + 1) % 1_000_000_000);
            self.modified = Time { seconds: last.seconds.saturating_add(carry.into()), nanoseconds };
        }
    }

    /// Takes set-user-ID away, set-group-ID where the group may execute the file, and capabilities: somebody has written to it, or it
    /// has another owner.
    pub(super) fn strip(&mut self) {
        self.mode &= !0o4000;
        if self.mode & 0o010 != 0 {
            self.mode &= !0o2000;
        }
        self.xattrs.drop_capabilities();
    }
}

/// The kernel's own time of files, which is a little behind: what is written here is not newer than what is written elsewhere after it.
pub(super) fn now() -> Time {
    clock_gettime(ClockId::CLOCK_REALTIME_COARSE)
        .map(|time| Time { seconds: time.tv_sec(), nanoseconds: time.tv_nsec() as u32 })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hundred thousand small files are to take no more than some 30 MiB.
    #[test]
    fn a_node_is_small() {
        assert!(size_of::<Node>() <= 216, "{}", size_of::<Node>());
    }
}
