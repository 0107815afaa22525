//! A reader of squashfs images: names, what their inodes say, attributes and contents, without a mount.
//!
//! It is our own, like the ext engine, because layers are data of any user and what lies below an image must be told exactly: the
//! crates that read squashfs know no attributes (an opaque directory is one), refuse an image for one inode with attributes or a
//! link of 256 bytes, and inflate or recurse as far as an image likes. It is lazy: only the directories that are asked for are
//! read. Decompression is left to crates, in Rust but for zstd, where the C library is several times as fast.
//!
//! [`superblock`] says what an image is and where its tables lie. `blocks` unpacks them, `ids`, `inode`, `directory` and `xattr` read
//! the tables, `file` the content. [`Squashfs`] is all of it together, for any number of threads at the same time.

mod blocks;
mod compress;
mod directory;
mod error;
mod file;
mod ids;
mod inode;
mod reference;
pub mod superblock;
mod xattr;

pub use blocks::Budget;
pub use directory::Entry;
pub use error::SquashfsError;
pub use file::{Content, Spot};
pub use inode::Inode;
pub use reference::Reference;

use crate::file::{FileType, Xattr};
use crate::source::{ReadAt, Window};
use blocks::Blocks;
use file::Marks;
use ids::IdTable;

/// The unit of [`Squashfs::sectors`], in bytes.
const SECTOR: u64 = 512;

/// An image that was opened to be read as a tree.
pub struct Squashfs {
    blocks: Blocks,
    ids: IdTable,
    marks: Marks,
}

impl Squashfs {
    /// Opens the image in `window` of `reader`, to be gone through once.
    ///
    /// # Errors
    /// No sound squashfs, or a compression that is not supported.
    pub fn open(reader: impl ReadAt + 'static, window: Window) -> Result<Self, SquashfsError> {
        Self::open_with(reader, window, Budget::default())
    }

    /// As [`Squashfs::open`], with so much memory for what is unpacked.
    ///
    /// # Errors
    /// As [`Squashfs::open`].
    pub fn open_with(reader: impl ReadAt + 'static, window: Window, budget: Budget) -> Result<Self, SquashfsError> {
        let blocks = Blocks::open(Box::new(reader), window, budget)?;
        let ids = IdTable::read(&blocks)?;
        Ok(Self { blocks, ids, marks: Marks::default() })
    }

    /// The root directory.
    #[must_use]
    pub fn root(&self) -> Reference {
        Reference::from_number(self.blocks.sb.root_inode.get())
    }

    /// Whether anything has extended attributes.
    #[must_use]
    pub fn has_xattrs(&self) -> bool {
        self.blocks.sb.xattr_table().is_some()
    }

    /// The length of a whole block of content, in bytes.
    #[must_use]
    pub fn block_size(&self) -> usize {
        self.blocks.whole()
    }

    /// What the inode at `reference` says.
    ///
    /// # Errors
    /// It cannot be read, or contradicts itself.
    pub fn inode(&self, reference: Reference) -> Result<Inode, SquashfsError> {
        inode::read(&self.blocks, &self.ids, reference)
    }

    /// How much an inode takes as stat(2) shows it where the kernel has mounted the image, in units of 512 bytes: what the content of
    /// a file would take unpacked, without its holes, and the attributes.
    ///
    /// # Errors
    /// Attributes that are broken.
    pub fn sectors(&self, inode: &Inode) -> Result<u64, SquashfsError> {
        let is_file = inode.kind == FileType::Regular;
        let content = if is_file { inode.size.saturating_sub(inode.holes()).div_ceil(SECTOR) } else { 0 };
        let xattrs = xattr::length(&self.blocks, inode)?.map_or(0, |length| u64::from(length).div_ceil(SECTOR));
        Ok(content + xattrs)
    }

    /// The names of a directory, as they are stored.
    ///
    /// # Errors
    /// Not a directory, or a broken one.
    pub fn entries(&self, directory: &Inode) -> Result<Vec<Entry>, SquashfsError> {
        directory::read(&self.blocks, directory)
    }

    /// As [`Squashfs::entries`], one after the other, until `visit` returns false.
    ///
    /// # Errors
    /// As [`Squashfs::entries`].
    pub fn each_entry(&self, directory: &Inode, visit: &mut dyn FnMut(Entry) -> bool) -> Result<(), SquashfsError> {
        directory::each(&self.blocks, directory, visit)
    }

    /// The extended attributes of an inode.
    ///
    /// # Errors
    /// Attributes that are broken.
    pub fn xattrs(&self, inode: &Inode) -> Result<Vec<Xattr>, SquashfsError> {
        xattr::read(&self.blocks, inode)
    }

    /// The content of a file, to be read from its start; holes read as zeros.
    ///
    /// # Errors
    /// Not a regular file, or a broken one.
    pub fn open_file(&self, file: &Inode) -> Result<Content<'_>, SquashfsError> {
        Content::of(&self.blocks, file)
    }

    /// Fills `buf` from `offset` in a file on, as far as the file goes, and returns how much that is; holes read as zeros. What is unpacked for
    /// it is kept, so a thread that wants the same block waits for the first.
    ///
    /// # Errors
    /// As [`Squashfs::open_file`].
    pub fn read(&self, file: &Inode, offset: u64, buf: &mut [u8]) -> Result<usize, SquashfsError> {
        file::read(&self.blocks, &self.marks, file, offset, buf)
    }

    /// The next offset from `offset` in a file on that holds data, or a hole; the end of the file is one. `None` where the file ends
    /// before it.
    ///
    /// # Errors
    /// As [`Squashfs::open_file`].
    pub fn seek(&self, file: &Inode, offset: u64, hole: bool) -> Result<Option<u64>, SquashfsError> {
        file::seek(&self.blocks, &self.marks, file, offset, hole)
    }

    /// Which block of the image has this place in a file.
    #[must_use]
    pub fn spot(&self, file: &Inode, offset: u64) -> Spot {
        Spot::of(&self.blocks, file, offset)
    }

    /// Unpacks and keeps what a reader in the order of the image will ask for next: up to `bytes` of content from `offset` in a file on, and
    /// behind it what the next files have. `go_on` is asked before each block, and with true before each further file.
    ///
    /// # Errors
    /// Something there is broken; the reader will be told the same.
    pub fn prepare(
        &self,
        file: &Inode,
        offset: u64,
        bytes: usize,
        go_on: &dyn Fn(bool) -> bool,
    ) -> Result<(), SquashfsError> {
        file::prepare((&self.blocks, &self.marks, &self.ids), file, offset, bytes, go_on)
    }
}
