//! The resized copy under a temporary name beside the image, until it takes the image's place.
//!
//! The original is only read, so whatever happens, it stays what it is.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::sys::statvfs::statvfs;

use super::error::ResizeError;
use crate::draft::attributes::{self, Unequal};
use crate::draft::{Draft, Kind, Place};
use crate::held::{Held, Purpose};
use crate::lock::{self, User};
use crate::sparse::{self, Copied};

/// Some file systems need a little more than the data.
const SLACK: u64 = 1 << 20;

/// Longer than a new process needs from its fork to its exec.
const EXEC_TIME: Duration = Duration::from_millis(200);

/// The copy; removed when dropped, unless it has taken the image's place.
pub(super) struct Twin<'a> {
    path: &'a Path,
    held: &'a Held,
    place: Place,
    draft: Draft,
    seen: (u64, i64, i64),
}

impl<'a> Twin<'a> {
    /// An empty copy beside the image that `path` leads to, with the owner of the image.
    pub(super) fn beside(path: &'a Path, held: &'a Held) -> Result<Self, ResizeError> {
        let io = |error| ResizeError::io(path, error);
        let meta = held.file.metadata().map_err(io)?;
        if meta.nlink() > 1 {
            return Err(ResizeError::HardLinks { path: path.into(), links: meta.nlink() });
        }
        let place = Place::of(&held.image).map_err(io)?;
        let draft = place.draft(Kind::Resized).map_err(|error| no_copy(path, &place, error))?;
        let taken =
            attributes::take_user(&meta, draft.file()).and_then(|()| attributes::take_group(&meta, draft.file()));
        taken.map_err(|unequal| attribute(path, unequal))?;
        Ok(Self { path, held, place, draft, seen: stamp(&held.file).map_err(io)? })
    }

    pub(super) fn draft(&self) -> &Draft {
        &self.draft
    }

    /// Copies the image, and checks before that there is room for it and for `more` bytes. `tell` is told bytes done and
    /// bytes in all; it fails in order to stop.
    pub(super) fn fill(&self, more: u64, tell: sparse::Tell<'_>) -> Result<Copied, ResizeError> {
        let (from, to) = (&self.held.file, self.draft.file());
        let shared = sparse::reflink(from, to).map_err(|e| self.io(e))?;
        let copied = if shared { Copied::Reflink } else { Copied::Copy };
        let data = if copied == Copied::Copy { self.held.image.allocated_bytes.min(self.seen.0) } else { 0 };
        self.check_space(data.saturating_add(more).saturating_add(SLACK))?;
        if copied == Copied::Copy {
            sparse::copy_data(from, to, tell).map_err(|e| self.io(e))?;
        }
        Ok(copied)
    }

    fn check_space(&self, needed: u64) -> Result<(), ResizeError> {
        let directory = self.place.directory().to_owned();
        let stat = statvfs(&directory).map_err(|errno| self.io(errno.into()))?;
        let available = stat.blocks_available().saturating_mul(stat.fragment_size());
        if available < needed {
            return Err(ResizeError::NoSpace { path: self.path.into(), directory, needed, available });
        }
        Ok(())
    }

    /// Puts the copy in the image's place. Both stay locked until the new name is on disk.
    pub(super) fn take_place(self) -> Result<(), ResizeError> {
        attributes::take_rest(&self.held.file, self.draft.file()).map_err(|unequal| attribute(self.path, unequal))?;
        // Now, because it takes long, and nothing that does may lie between the look and the new name.
        self.draft.file().sync_all().map_err(|e| self.io(e))?;
        self.look_again()?;
        let _new = self.draft.replace(self.place.file()).map_err(|error| no_copy(self.path, &self.place, error))?;
        Ok(())
    }

    /// Whoever got hold of the image in spite of the lock would lose what he writes.
    fn look_again(&self) -> Result<(), ResizeError> {
        let image = &self.held.image;
        let changed = |what: &str| Err(ResizeError::Changed { path: self.path.into(), what: what.into() });
        if !self.place.has(image) {
            return changed("it was replaced by another file");
        }
        if stamp(&self.held.file).map_err(|e| self.io(e))? != self.seen {
            return changed("somebody wrote to it");
        }
        if let Some(user) = self.lasting_writer() {
            return changed(&format!("process {} ({}) opened it for writing", user.pid, user.comm));
        }
        self.held.refuse_loops(Purpose::Change).map_err(ResizeError::from)
    }

    /// Somebody who has the image open for writing. A process that another thread of ours is just starting has it too, until
    /// its exec.
    fn lasting_writer(&self) -> Option<User> {
        let writers = || lock::writers(self.held.image.dev, self.held.image.ino);
        let first = writers();
        if first.is_empty() {
            return None;
        }
        thread::sleep(EXEC_TIME);
        writers().into_iter().find(|writer| first.iter().any(|user| user.pid == writer.pid))
    }

    fn io(&self, error: io::Error) -> ResizeError {
        match error.kind() {
            io::ErrorKind::Interrupted => ResizeError::Interrupted { path: self.path.into() },
            _ => ResizeError::io(self.path, error),
        }
    }
}

/// Length and time of modification.
fn stamp(file: &File) -> io::Result<(u64, i64, i64)> {
    file.metadata().map(|meta| (meta.len(), meta.mtime(), meta.mtime_nsec()))
}

fn no_copy(path: &Path, place: &Place, error: io::Error) -> ResizeError {
    ResizeError::NoCopy { path: path.into(), directory: place.directory().into(), error }
}

fn attribute(path: &Path, Unequal { what, error }: Unequal) -> ResizeError {
    ResizeError::Attribute { path: path.into(), what, error }
}
