//! The tree that lives in a workspace image: what is written in a `:rw` layer.
//!
//! The kernel's OverlayFS has its `upper` and its `work` in the image's directories of these names. The image itself is read and written by
//! [`condatainer_writer`]. Here is what the kernel is shown of it: `number` tells the nodes by which it knows inodes, `owners` whose something
//! is shown to be and whose it is on disk, `marks` turns the marks of fuse-overlayfs for what is deleted into the kernel's, [`tree`] is how
//! the server asks, and `committer` the thread that makes changes last.

mod committer;
mod marks;
mod number;
mod owners;
mod tree;

use std::sync::Arc;

use condatainer_formats::ext::{FileType, raw::ROOT_INO};
use condatainer_writer::{Result, Volume};
use nix::errno::Errno;

use crate::serve::Trouble;
pub use committer::Committer;
use marks::Marks;
use number::Numbers;
pub use owners::Owners;

/// An image that is written.
pub struct Workspace {
    volume: Arc<Volume>,
    owners: Owners,
    marks: Marks,
    numbers: Numbers,
    trouble: Arc<Trouble>,
    upper: u32,
    work: u32,
}

impl Workspace {
    /// Of an image that is open. It has `upper` and `work` in its root.
    ///
    /// # Errors
    /// It has not, or cannot be read.
    pub fn new(volume: Arc<Volume>, owners: Owners, trouble: Arc<Trouble>) -> Result<Self> {
        let top = |name: &[u8]| -> Result<u32> {
            let named = volume.lookup(ROOT_INO, name)?;
            if named.stat.kind == FileType::Directory { Ok(named.ino) } else { Err(Errno::ENOTDIR.into()) }
        };
        let (upper, work) = (top(b"upper")?, top(b"work")?);
        Ok(Self { volume, owners, marks: Marks::default(), numbers: Numbers::default(), trouble, upper, work })
    }

    /// The number of the directory for `upperdir=`.
    #[must_use]
    pub fn upper(&self) -> u64 {
        number::of(self.upper)
    }

    /// The number of the directory for `workdir=`.
    #[must_use]
    pub fn work(&self) -> u64 {
        number::of(self.work)
    }
}
