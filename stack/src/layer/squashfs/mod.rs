//! A squashfs as a layer, bare or in a SIF.

mod ahead;

use std::io;
use std::sync::Arc;

use condatainer_formats::ext::{FileType, Window, Xattr};
use condatainer_formats::source::ReadAt;
use condatainer_formats::squashfs::{Budget, Inode, Reference, Squashfs, SquashfsError};
use nix::errno::Errno;

use ahead::Ahead;

use super::{Attributes, Entry, Key, Layer, Time};

/// An image that was opened.
pub struct SquashfsLayer {
    image: Arc<Squashfs>,
    ahead: Ahead,
}

impl SquashfsLayer {
    /// Opens the image in `window` of `reader`, which keeps no more than `budget` unpacked.
    ///
    /// # Errors
    /// No sound squashfs, or a compression that the kernel does not know either.
    pub fn open(reader: impl ReadAt + 'static, window: Window, budget: Budget) -> Result<Self, SquashfsError> {
        let image = Arc::new(Squashfs::open_with(reader, window, budget)?);
        Ok(Self { ahead: Ahead::new(Arc::clone(&image), budget.data), image })
    }

    fn inode(&self, key: Key) -> io::Result<Inode> {
        self.image.inode(Reference::from_number(key.0)).map_err(told)
    }

    fn inode_of(&self, key: Key, kind: FileType, otherwise: Errno) -> io::Result<Inode> {
        let inode = self.inode(key)?;
        if inode.kind == kind { Ok(inode) } else { Err(otherwise.into()) }
    }
}

/// As a system call would tell it; damage is `EIO`, with its own words.
fn told(error: SquashfsError) -> io::Error {
    match error {
        SquashfsError::Crowded(_) => Errno::EFBIG.into(),
        SquashfsError::Io(error) => error,
        other => io::Error::other(other),
    }
}

impl Layer for SquashfsLayer {
    fn root(&self) -> Key {
        Key(self.image.root().number())
    }

    fn attributes(&self, key: Key) -> io::Result<Attributes> {
        let inode = self.inode(key)?;
        let blocks = self.image.sectors(&inode).map_err(told)?;
        let time = Time { seconds: inode.mtime, nanoseconds: 0 };
        let size = if inode.kind == FileType::Directory { u64::from(inode.list_length()) } else { inode.size };
        let Inode { kind, mode, ids, links, device, .. } = inode;
        Ok(Attributes { kind, mode, ids, size, blocks, links, device, accessed: time, modified: time, changed: time })
    }

    fn entries(&self, directory: Key, visit: &mut dyn FnMut(Entry<'_>) -> bool) -> io::Result<()> {
        let directory = self.inode_of(directory, FileType::Directory, Errno::ENOTDIR)?;
        let mut each = |entry: condatainer_formats::squashfs::Entry| {
            visit(Entry { name: &entry.name, key: Key(entry.reference.number()), kind: Some(entry.kind) })
        };
        self.image.each_entry(&directory, &mut each).map_err(told)
    }

    fn read(&self, file: Key, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let number = file.0;
        let file = self.inode_of(file, FileType::Regular, Errno::EINVAL)?;
        self.ahead.learn(number, &file, offset, buf.len());
        self.image.read(&file, offset, buf).map_err(told)
    }

    fn target(&self, link: Key) -> io::Result<Vec<u8>> {
        self.inode(link)?.target.ok_or_else(|| Errno::EINVAL.into())
    }

    fn xattrs(&self, key: Key) -> io::Result<Vec<Xattr>> {
        self.image.xattrs(&self.inode(key)?).map_err(told)
    }

    fn seek(&self, file: Key, offset: u64, hole: bool) -> io::Result<Option<u64>> {
        let file = self.inode_of(file, FileType::Regular, Errno::EINVAL)?;
        self.image.seek(&file, offset, hole).map_err(told)
    }

    fn may_have_xattrs(&self) -> bool {
        self.image.has_xattrs()
    }
}
