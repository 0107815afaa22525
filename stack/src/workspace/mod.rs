//! The tree that lives in a workspace image: what is written in a `:rw` layer.
//!
//! The kernel's OverlayFS has its `upper` and its `work` in the image's directories of these names. The image itself is read and written by
//! [`condatainer_writer`]. Here is what the kernel is shown of it: `number` tells the nodes by which it knows inodes, `owners` whose something
//! is shown to be and whose it is on disk, `rights` what its lists of access rights say, `marks` turns the marks of fuse-overlayfs for what is deleted into the kernel's, [`tree`] is how
//! the server asks, and `committer` the thread that makes changes last.

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
use number::Numbers;
pub use owners::Owners;

/// Nobody answers a FORGET, so a program that has just removed a file may write again before another thread has freed its room.
const FORGETTING: [Duration; 3] = [Duration::from_millis(1), Duration::from_millis(4), Duration::from_millis(15)];

/// An image that is written.
pub struct Workspace {
    volume: Arc<Volume>,
    owners: Owners,
    marks: Marks,
    numbers: Numbers,
    trouble: Arc<Trouble>,
    /// What messages call the image.
    name: String,
    /// Whether the disk has parts of seconds.
    has_fine_times: bool,
    upper: u32,
    work: u32,
    /// The directory in `work` that the kernel's overlay has made for itself.
    work_of_now: AtomicU32,
}

impl Workspace {
    /// Of an image that is open; `name` is what messages call it. An image that was never used may have no `upper` and no `work` in its
    /// root.
    ///
    /// # Errors
    /// They are no directories, or it cannot be read, or written.
    pub fn new(volume: Arc<Volume>, owners: Owners, trouble: Arc<Trouble>, name: String) -> Result<Self> {
        let (upper, work) = (top(&volume, b"upper")?, top(&volume, b"work")?);
        let (marks, numbers, work_of_now) = Default::default();
        let has_fine_times = volume.has_fine_times();
        Ok(Self { volume, owners, marks, numbers, trouble, name, has_fine_times, upper, work, work_of_now })
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

    fn answer<T>(&self, result: Result<T>) -> Answer<T> {
        result.map_err(|error| match error {
            Error::Refused(errno) => errno,
            error => {
                self.trouble.told(io::Error::other(format!("{}: {error}", self.name)));
                error.errno()
            }
        })
    }

    /// Tries what needs room, and again where there is none.
    fn with_room<T>(&self, attempt: impl Fn() -> Result<T>) -> Answer<T> {
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
