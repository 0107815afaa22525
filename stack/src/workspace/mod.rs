//! The tree that lives in a workspace image: what is written in a `:rw` layer.
//!
//! It is the directory `upper` of the image, which is read and written by [`condatainer_writer`]. [`crate::overlay`] lays it over the layers.
//! Here is what is shown of it: `number` tells the numbers by which inodes are known, `owners` whose something is shown to be and whose it is
//! on disk, `rights` what its lists of access rights say, `marks` turns the marks of fuse-overlayfs for what is deleted into the kernel's,
//! `tree` is how it is looked at and how what it has is changed, `above` what the overlay does to its names, and `committer` the thread that makes
//! changes last.

pub(crate) mod above;
mod committer;
mod marks;
mod number;
mod owners;
mod rights;
mod tree;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::thread::sleep;
use std::time::Duration;

use condatainer_formats::ext::{FileType, raw::ROOT_INO};
use condatainer_writer::{Error, New, Result, Volume};
use nix::errno::Errno;

use crate::serve::Trouble;
use crate::serve::tree::Answer;
pub use committer::Committer;
use marks::Marks;
pub(crate) use number::{ino as ino_of, of as number_of};
pub use owners::Owners;

/// Nobody answers a FORGET, so a program that has just removed a file may write again before another thread has freed its room.
const FORGETTING: [Duration; 3] = [Duration::from_millis(1), Duration::from_millis(4), Duration::from_millis(15)];

/// An image that is written.
pub struct Workspace {
    volume: Arc<Volume>,
    owners: Owners,
    marks: Marks,
    trouble: Arc<Trouble>,
    /// What messages call the image.
    name: String,
    upper: u32,
    /// A whiteout, of which others are further names.
    whiteout: AtomicU32,
}

impl Workspace {
    /// Of an image that is open; `name` is what messages call it. An image that was never used may have no `upper` and no `work` in its
    /// root.
    ///
    /// # Errors
    /// They are no directories, or it cannot be read, or written.
    pub fn new(volume: Arc<Volume>, owners: Owners, trouble: Arc<Trouble>, name: String) -> Result<Self> {
        let upper = top(&volume, b"upper")?;
        // For whoever lays the kernel's overlay, or fuse-overlayfs, over the image.
        let work = top(&volume, b"work")?;
        tidy(&volume, work);
        let (marks, whiteout) = Default::default();
        Ok(Self { volume, owners, marks, trouble, name, upper, whiteout })
    }

    /// The number of the directory with what was written.
    #[must_use]
    pub fn upper(&self) -> u64 {
        number::of(self.upper)
    }

    pub(crate) fn answer<T>(&self, result: Result<T>) -> Answer<T> {
        result.map_err(|error| match error {
            Error::Refused(errno) => errno,
            error => {
                self.trouble.told(io::Error::other(format!("{}: {error}", self.name)));
                error.errno()
            }
        })
    }

    /// Tries what needs room, and again where there is none.
    pub(crate) fn with_room<T>(&self, attempt: impl Fn() -> Result<T>) -> Answer<T> {
        let mut result = attempt();
        for pause in FORGETTING {
            if !matches!(&result, Err(Error::Refused(Errno::ENOSPC))) {
                break;
            }
            sleep(pause);
            result = attempt();
        }
        self.answer(result)
    }
}

/// Takes away what an overlay of others that was killed has left where it works: copies that were not ready. It would do so itself.
fn tidy(volume: &Volume, work: u32) {
    let Ok(inner) = volume.lookup(work, b"work") else { return };
    let mut left = Vec::new();
    let listed = volume.list(inner.ino, 0, &mut |listed| {
        left.push((listed.name.clone(), listed.kind == Some(FileType::Directory)));
        true
    });
    if listed.is_ok() {
        // What cannot be removed only takes room.
        left.iter().for_each(|(name, is_directory)| drop(volume.remove(inner.ino, name, *is_directory)));
    }
    let _ = volume.release(inner.ino, 1);
}

/// A directory of the image's root, which belongs to whom that belongs where it has to be made.
fn top(volume: &Volume, name: &[u8]) -> Result<u32> {
    let found = match volume.lookup(ROOT_INO, name) {
        Err(Error::Refused(Errno::ENOENT)) => {
            let ids = volume.stat(ROOT_INO)?.ids;
            let new = New { kind: FileType::Directory, mode: 0o755, ids, device: (0, 0), target: &[], xattrs: &[] };
            volume.make(ROOT_INO, name, &new)
        }
        found => found,
    }?;
    if found.stat.kind == FileType::Directory { Ok(found.ino) } else { Err(Errno::ENOTDIR.into()) }
}
