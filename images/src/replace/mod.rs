//! A changed copy of an image that takes the image's place: how a resize and a repair change what must not be cut off halfway.
//!
//! The copy is made beside the image and worked on there; the original is only read. When the copy is complete and on disk, one
//! rename gives it the image's name, so that a kill at any instant leaves the one or the other. What is killed leaves a draft, which
//! the next one that comes along takes away.
//!
//! The image's lock is held all the time, but not everybody asks for it. So right before the rename the image is looked at again:
//! whoever has written to it meanwhile, or is about to, would lose what he writes. A file with several names is refused, because the
//! others would go on leading to the original.
//!
//! The way: `place` finds where the image really lies, this file fills the copy there, `kept` gives an original that is to stay its
//! second name, and the copy gets the first.

mod error;
mod kept;
mod place;

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use nix::sys::statvfs::statvfs;

use place::Place;

pub(crate) use error::ReplaceError;

use crate::acquire::{LockedImage, Purpose};
use crate::lock::{self, Guard, User};
use crate::sparse::{self, Copied};
use crate::temporary::{Draft, Kind, attributes};

/// Some file systems need a little more than the data.
const SLACK: u64 = 1 << 20;

/// Longer than a new process needs from its fork to its exec.
const EXEC_TIME: Duration = Duration::from_millis(200);

/// Whether the copy must have the group of the original, which may be one that the caller is not in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Same,
    /// The mode makes up for another one.
    IfPossible,
}

/// The copy under change; removed when dropped, unless it has taken the image's place.
pub(crate) struct Replacement {
    place: Place,
    draft: Draft,
    seen: Stamp,
}

/// A copy that has the image's name now.
pub(crate) struct Taken {
    pub file: File,
    pub(crate) guard: Guard,
    /// The name that the original has now, if it was to be kept.
    pub(crate) kept: Option<PathBuf>,
}

/// Length and time of modification.
type Stamp = (u64, i64, i64);

impl Replacement {
    /// An empty copy beside the image that `original` holds, with the image's owner.
    pub(crate) fn beside(original: &LockedImage, kind: Kind, group: Group) -> Result<Self, ReplaceError> {
        let place = Place::of(&original.image)?;
        refuse_hard_links(original, &place)?;
        let draft = place.draft(kind).map_err(|error| ReplaceError::no_copy(&place, error))?;
        let meta = original.file.metadata()?;
        attributes::take_user(&meta, draft.file())?;
        match (attributes::take_group(&meta, draft.file()), group) {
            (Err(unequal), Group::Same) => Err(unequal.into()),
            _ => Ok(Self { place, draft, seen: stamp(&original.file)? }),
        }
    }

    pub(crate) fn draft(&self) -> &Draft {
        &self.draft
    }

    /// Copies the image, and checks before that there is room for it and for `more` bytes. `tell` is told bytes done and
    /// bytes in all; it fails in order to stop.
    pub(crate) fn fill(
        &self,
        original: &LockedImage,
        more: u64,
        tell: sparse::Tell<'_>,
    ) -> Result<Copied, ReplaceError> {
        let (from, to) = (&original.file, self.draft.file());
        let copied = if sparse::reflink(from, to)? { Copied::Reflink } else { Copied::Copy };
        let data = if copied == Copied::Copy { original.image.allocated_bytes.min(self.seen.0) } else { 0 };
        self.check_space(data.saturating_add(more).saturating_add(SLACK))?;
        if copied == Copied::Copy {
            sparse::copy_data(from, to, tell)?;
        }
        Ok(copied)
    }

    fn check_space(&self, needed: u64) -> Result<(), ReplaceError> {
        let directory = self.place.directory().to_owned();
        let stat = statvfs(&directory).map_err(io::Error::from)?;
        let available = stat.blocks_available().saturating_mul(stat.fragment_size());
        match available < needed {
            true => Err(ReplaceError::NoSpace { directory, needed, available }),
            false => Ok(()),
        }
    }

    /// Puts the copy in the image's place; with `keep` the original stays under another name. Both are locked until the new name
    /// is on disk.
    pub(crate) fn take_place(self, original: &LockedImage, keep: bool) -> Result<Taken, ReplaceError> {
        attributes::take_rest(&original.file, self.draft.file())?;
        // Now, because it takes long, and nothing that does may lie between the look and the new name.
        self.draft.file().sync_all()?;
        self.look_again(original)?;
        let kept = keep.then(|| kept::keep(self.place.file(), original.image.ino)).transpose()?;
        let renamed = self.draft.replace(self.place.file());
        let (file, guard) = renamed.map_err(|error| ReplaceError::no_copy(&self.place, error))?;
        Ok(Taken { file, guard, kept })
    }

    /// Whoever got hold of the image in spite of the lock would lose what he writes.
    fn look_again(&self, original: &LockedImage) -> Result<(), ReplaceError> {
        let changed = |what: &str| Err(ReplaceError::Changed { what: what.into() });
        if !self.place.has(&original.image) {
            return changed("it was replaced by another file");
        }
        if stamp(&original.file)? != self.seen {
            return changed("somebody wrote to it");
        }
        if let Some(user) = lasting_writer(original) {
            return changed(&format!("process {} ({}) opened it for writing", user.pid, user.comm));
        }
        refuse_hard_links(original, &self.place)?;
        Ok(original.refuse_loops(Purpose::Change)?)
    }
}

/// Names that a killed repair has given to what it wanted to keep do not count.
fn refuse_hard_links(original: &LockedImage, place: &Place) -> Result<(), ReplaceError> {
    let links = original.file.metadata()?.nlink();
    match links > 1 && links > 1 + kept::count(place.file(), original.image.ino) {
        true => Err(ReplaceError::HardLinks { links }),
        false => Ok(()),
    }
}

/// Somebody who has the image open for writing. A process that another thread of ours is just starting has it too, until its exec.
fn lasting_writer(original: &LockedImage) -> Option<User> {
    let writers = || lock::writers(original.image.dev, original.image.ino);
    let first = writers();
    if first.is_empty() {
        return None;
    }
    thread::sleep(EXEC_TIME);
    writers().into_iter().find(|writer| first.iter().any(|user| user.pid == writer.pid))
}

fn stamp(file: &File) -> io::Result<Stamp> {
    file.metadata().map(|meta| (meta.len(), meta.mtime(), meta.mtime_nsec()))
}
