//! A reader of squashfs images: names, what their inodes say, attributes and contents, without a mount.
//!
//! It is our own, like the ext engine, because layers are data of any user and what lies below an image must be told exactly: the
//! crates that read squashfs know no attributes (an opaque directory is one), refuse an image for one inode with attributes or a
//! link of 256 bytes, and inflate or recurse as far as an image likes. It is lazy: only the directories that are asked for are
//! read. Decompression is left to crates, all of them in safe or checked Rust.

mod compress;
mod content;
mod directory;
mod error;
pub mod header;
mod inode;
mod metadata;
mod superblock;
mod table;
mod xattr;

use std::cell::RefCell;
use std::rc::Rc;

pub use content::Content;
pub use directory::Entry;
pub use error::SquashfsError;
pub use inode::{Inode, Reference};

use crate::file::Xattr;
use crate::source::{ReadAt, Window, read_exact_at};
use header::SUPERBLOCK_SIZE;
use metadata::Cache;
use superblock::Superblock;

/// An image that was opened to be read as a tree.
pub struct Squashfs<R> {
    reader: R,
    window: Window,
    sb: Superblock,
    ids: Vec<u32>,
    cache: RefCell<Cache>,
    /// The fragment that was read last: small files of one directory usually lie in one.
    fragment: RefCell<Option<(u32, Rc<[u8]>)>>,
}

impl<R: ReadAt> Squashfs<R> {
    /// Opens the image in `window` of `reader`.
    ///
    /// # Errors
    /// No sound squashfs, or a compression that is not supported.
    pub fn open(reader: R, window: Window) -> Result<Self, SquashfsError> {
        let mut head = vec![0; SUPERBLOCK_SIZE.min(usize::try_from(window.size).unwrap_or(SUPERBLOCK_SIZE))];
        read_exact_at(&reader, &mut head, window.offset)?;
        let sb = Superblock::from_bytes(&head, window.size)?;
        let mut image =
            Self { reader, window, sb, ids: Vec::new(), cache: RefCell::default(), fragment: RefCell::default() };
        image.ids = image.read_ids()?;
        Ok(image)
    }

    /// The root directory.
    #[must_use]
    pub fn root(&self) -> Reference {
        self.sb.root
    }

    /// What the inode at `reference` says.
    ///
    /// # Errors
    /// It cannot be read, or contradicts itself.
    pub fn inode(&self, reference: Reference) -> Result<Inode, SquashfsError> {
        inode::read(self, reference)
    }

    /// The names of a directory, as they are stored.
    ///
    /// # Errors
    /// Not a directory, or a broken one.
    pub fn entries(&self, directory: &Inode) -> Result<Vec<Entry>, SquashfsError> {
        directory::read(self, directory)
    }

    /// As [`Squashfs::entries`], one after the other.
    pub fn each_entry(&self, directory: &Inode, visit: &mut dyn FnMut(Entry)) -> Result<(), SquashfsError> {
        directory::each(self, directory, visit)
    }

    /// The extended attributes of an inode.
    ///
    /// # Errors
    /// Attributes that are broken.
    pub fn xattrs(&self, inode: &Inode) -> Result<Vec<Xattr>, SquashfsError> {
        xattr::read(self, inode)
    }

    /// The content of a file, to be read from its start; holes read as zeros.
    ///
    /// # Errors
    /// Not a regular file, or a broken one.
    pub fn open_file(&self, file: &Inode) -> Result<Content<'_, R>, SquashfsError> {
        Content::of(self, file)
    }

    /// Fills `buf` from `offset` within the image.
    fn read_into(&self, buf: &mut [u8], offset: u64) -> Result<(), SquashfsError> {
        let end = offset.checked_add(buf.len() as u64).filter(|end| *end <= self.sb.used);
        let start = end.and_then(|_| self.window.offset.checked_add(offset));
        let start = start.ok_or(SquashfsError::Corrupt("something lies outside the image"))?;
        Ok(read_exact_at(&self.reader, buf, start)?)
    }
}
