//! A reader of squashfs images: names, what their inodes say, attributes and contents, without a mount.
//!
//! It is our own, like the ext engine, because layers are data of any user and what lies below an image must be told exactly: the
//! crates that read squashfs know no attributes (an opaque directory is one), refuse an image for one inode with attributes or a
//! link of 256 bytes, and inflate or recurse as far as an image likes. It is lazy: only the directories that are asked for are
//! read. Decompression is left to crates, all of them in safe or checked Rust.
//!
//! [`superblock`] says what an image is and where its tables lie. `blocks` unpacks them, `ids`, `inode`, `directory` and `xattr` read
//! the tables, `content` the files. [`Squashfs`] is all of it together.

mod blocks;
mod compress;
mod content;
mod directory;
mod error;
mod ids;
mod inode;
mod reference;
pub mod superblock;
mod xattr;

pub use content::Content;
pub use directory::Entry;
pub use error::SquashfsError;
pub use inode::Inode;
pub use reference::Reference;

use crate::file::Xattr;
use crate::source::{ReadAt, Window};
use blocks::Blocks;
use ids::IdTable;

/// An image that was opened to be read as a tree.
pub struct Squashfs {
    blocks: Blocks,
    ids: IdTable,
}

impl Squashfs {
    /// Opens the image in `window` of `reader`.
    ///
    /// # Errors
    /// No sound squashfs, or a compression that is not supported.
    pub fn open(reader: impl ReadAt + 'static, window: Window) -> Result<Self, SquashfsError> {
        let blocks = Blocks::open(Box::new(reader), window)?;
        let ids = IdTable::read(&blocks)?;
        Ok(Self { blocks, ids })
    }

    /// The root directory.
    #[must_use]
    pub fn root(&self) -> Reference {
        Reference(self.blocks.sb.root_inode.get())
    }

    /// What the inode at `reference` says.
    ///
    /// # Errors
    /// It cannot be read, or contradicts itself.
    pub fn inode(&self, reference: Reference) -> Result<Inode, SquashfsError> {
        inode::read(&self.blocks, &self.ids, reference)
    }

    /// The names of a directory, as they are stored.
    ///
    /// # Errors
    /// Not a directory, or a broken one.
    pub fn entries(&self, directory: &Inode) -> Result<Vec<Entry>, SquashfsError> {
        directory::read(&self.blocks, directory)
    }

    /// As [`Squashfs::entries`], one after the other.
    ///
    /// # Errors
    /// As [`Squashfs::entries`].
    pub fn each_entry(&self, directory: &Inode, visit: &mut dyn FnMut(Entry)) -> Result<(), SquashfsError> {
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
}
