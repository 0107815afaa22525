//! A layer: one read-only tree, which any number of threads read at the same time.
//!
//! Every kind of image is one of these, and so are a directory of the host and the tree of mount points. What a layer has is shown as it is on disk: names of
//! whiteouts, ids and private attributes too. What they mean is decided above.

pub mod directory;
pub mod ext;
pub mod points;
pub mod squashfs;

use std::io;

use condatainer_formats::ext::{FileType, Ids, Xattr};
use nix::errno::Errno;

/// Where a layer keeps something: it is chosen by the layer, is the same for all hard links of one file, and means nothing in another
/// layer. It has at most 48 bits, so that the number of a layer finds place beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub u64);

/// What an inode says, as it is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// What it is.
    pub kind: FileType,
    /// Permission bits (the low twelve).
    pub mode: u16,
    /// Owner and group.
    pub ids: Ids,
    /// In bytes: of a file its content, of a link its target, of a directory what the disk says.
    pub size: u64,
    /// In units of 512 bytes, as stat(2) shows them.
    pub blocks: u64,
    /// Number of names.
    pub links: u32,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// When it was last read.
    pub accessed: Time,
    /// When its content was last changed.
    pub modified: Time,
    /// When anything of it was last changed.
    pub changed: Time,
}

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time {
    /// Since 1970.
    pub seconds: i64,
    /// To be added.
    pub nanoseconds: u32,
}

/// One name in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Any bytes but `/` and NUL; never empty, `.` or `..`, and at most 255.
    pub name: &'a [u8],
    /// What it stands for.
    pub key: Key,
    /// What the directory claims it to be; not every image says it.
    pub kind: Option<FileType>,
}

/// A read-only tree. Nothing in a hostile image can do more than produce an error, and the memory that a call takes is bounded.
///
/// Errors are such as a system call would give: `EIO` (and a word of the image's damage in the error's text) where the image contradicts itself.
pub trait Layer: Send + Sync {
    /// The root directory.
    fn root(&self) -> Key;

    /// The inode that a name stands for which a directory has shown under this key: all names of one file have the same then. An image
    /// knows that when it lists them.
    ///
    /// # Errors
    /// It cannot be looked at.
    fn inode(&self, key: Key) -> io::Result<Key> {
        Ok(key)
    }

    /// What the inode says.
    ///
    /// # Errors
    /// It cannot be read, or contradicts itself.
    fn attributes(&self, key: Key) -> io::Result<Attributes>;

    /// Calls `visit` with each name of a directory, in any order that is the same every time, until that returns `false`.
    ///
    /// # Errors
    /// Not a directory (`ENOTDIR`), a broken one, or one with more names than are believed (`EFBIG`).
    fn entries(&self, directory: Key, visit: &mut dyn FnMut(Entry<'_>) -> bool) -> io::Result<()>;

    /// Reads the content of a regular file from `offset`, as much as `buf` takes or as there is; holes read as zeros.
    ///
    /// # Errors
    /// Not a regular file (`EINVAL`), or it cannot be read.
    fn read(&self, file: Key, offset: u64, buf: &mut [u8]) -> io::Result<usize>;

    /// Where a symbolic link leads.
    ///
    /// # Errors
    /// Not a symbolic link (`EINVAL`), or it cannot be read.
    fn target(&self, link: Key) -> io::Result<Vec<u8>>;

    /// All extended attributes, with their whole names, access control lists as the kernel's `system.posix_acl_*` values (the
    /// version-2 form of getxattr(2), whatever the disk has).
    ///
    /// # Errors
    /// Attributes that are broken.
    fn xattrs(&self, key: Key) -> io::Result<Vec<Xattr>>;

    /// The next offset from `offset` on that holds data, or a hole, in a file that may have holes; `None` where the file ends before it.
    /// A layer that cannot tell holds data everywhere.
    ///
    /// # Errors
    /// As [`Layer::read`].
    fn seek(&self, file: Key, offset: u64, hole: bool) -> io::Result<Option<u64>> {
        let size = self.attributes(file)?.size;
        Ok(if offset >= size { None } else { Some(if hole { size } else { offset }) })
    }

    /// Whether it is a directory of the host: what is missing in it or forbidden is no damage, and others may change it.
    fn is_of_host(&self) -> bool {
        false
    }

    /// A program has opened a regular file: it stays that file until it is [released](Layer::release), whatever happens to its name.
    ///
    /// # Errors
    /// It cannot be opened.
    fn hold(&self, _file: Key) -> io::Result<()> {
        Ok(())
    }

    /// The program has closed it.
    fn release(&self, _file: Key) {}

    /// A name of a directory that cannot be listed; `None` where nothing has that name.
    ///
    /// # Errors
    /// It cannot be looked at either.
    fn find(&self, _directory: Key, _name: &[u8]) -> io::Result<Option<Key>> {
        Err(Errno::EACCES.into())
    }

    /// Whether extended attributes can be there at all: where not, the kernel need not ask for any.
    fn may_have_xattrs(&self) -> bool {
        true
    }
}
