//! Chown of a whole image, in place: from one owner to another, with the ids of other users left alone.
//!
//! It works on the inode tables themselves, so it takes a fraction of a second where a mount and `chown -R` take minutes.
//! Names, modes (suid bits too), times, extended attributes and ACLs stay as they are.

mod commit;
mod error;
mod job;
mod mapping;
mod members;
mod others;
mod survey;

use std::fs::File;
use std::path::{Path, PathBuf};

pub use error::ChownError;
pub(crate) use others::{count_other_owners, give_work};

use crate::lock::held::{Held, Purpose};
use crate::replace::sparse::next_data;
use crate::verbs::with_root;
use condatainer_formats::ext::raw::Fs;
use condatainer_formats::ext::{Ids, ReadAt, Window};
use job::Job;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The new owner and group.
    pub target: Ids,
    /// The user the image belongs to: the caller, or the target where that is a user. Its ids move, like 0 and the owner
    /// of `upper`.
    pub user: Ids,
    /// Moves exactly these ids instead.
    pub from: Option<Ids>,
    /// Moves every id.
    pub all: bool,
    /// Moves every group.
    pub groups: bool,
    /// Only what lies at and below these paths, as a container sees them; empty: everything.
    pub paths: Vec<PathBuf>,
    /// Looks, and changes nothing.
    pub dry_run: bool,
    /// Runs `e2fsck -p` under the lock where the image is not clean, instead of refusing.
    pub replay: bool,
}

impl Request {
    /// Everything to `target`, in an image of `user`.
    #[must_use]
    pub fn new(target: Ids, user: Ids) -> Self {
        let (from, paths) = (None, Vec::new());
        Self { target, user, from, all: false, groups: false, paths, dry_run: false, replay: false }
    }
}

/// What was done; in a dry run, what would be.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Files and directories looked at.
    pub scanned: u64,
    /// Those whose owner or group changed.
    pub changed: u64,
    /// Owner of `upper` before.
    pub before: Ids,
    /// Owner of `upper` now.
    pub after: Ids,
    /// Owners that can no longer be told apart, because all are the target's now; then the way back is not exact.
    pub merged_uids: Vec<u32>,
    /// The same for groups.
    pub merged_gids: Vec<u32>,
    /// Directories whose owner or group is still somebody else: without fakeroot the new owner cannot write there. Always
    /// 0 where the target is root, who needs fakeroot anyway.
    pub unwritable_directories: u64,
    /// The first of them, as paths from the image's root.
    #[serde(serialize_with = "crate::system::shown::paths")]
    pub unwritable_examples: Vec<PathBuf>,
    /// Whether the directories were walked, because the image holds more than the overlay or only paths were asked for.
    pub walked: bool,
    /// Whether e2fsck cleaned the image first.
    pub replayed: bool,
    /// Whether the image could not be locked, because the file system that holds it has no locks.
    pub unlocked: bool,
}

/// Changes the owners in the image at `path`. `progress` is told inodes passed and inodes to pass.
///
/// # Errors
/// See [`ChownError`]. Before the first write everything was checked; after it, running the same again completes the work.
pub fn chown(path: &Path, request: &Request, progress: &mut dyn FnMut(u64, u64)) -> Result<Report, ChownError> {
    let held =
        Held::open(path, if request.dry_run { Purpose::Look } else { Purpose::Change })?.announce("overlay chown");
    let replayed = held.make_clean(request.replay && !request.dry_run)?;
    let report = chown_held(&held, request, progress)?;
    if !request.dry_run && request.paths.is_empty() && request.from.is_none() {
        with_root::settle(&held);
    }
    Ok(Report { replayed, ..report })
}

/// As [`chown`], in an image that is held and clean already.
pub(crate) fn chown_held(
    held: &Held,
    request: &Request,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Report, ChownError> {
    let report = chown_file(&held.image.path, &held.file, held.window, request, progress)?;
    Ok(Report { unlocked: held.lock_unsupported().is_some(), ..report })
}

/// As [`chown`], in the file system at `window` of an open file that nobody else has; `path` is what messages name.
pub(crate) fn chown_file(
    path: &Path,
    file: &File,
    window: Window,
    request: &Request,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Report, ChownError> {
    // Some file systems report fresh, unwritten data as holes.
    file.sync_data().ok();
    let fs = Fs::open(file, window, u64::MAX).map_err(|error| ChownError::ext(path, error))?;
    let next_data = |from, end| next_data(file, from, end);
    let job = Job::new(path, &fs, Some(&next_data), request)?;
    let (members, holes, seen) = job.look(progress)?;
    if !request.dry_run && seen.changing > 0 {
        job.write(file, &members, holes, &seen, progress)?;
    }
    Ok(job.report(&members, seen))
}

/// What [`chown`] would do with the image in `window` of `reader`, whatever its state: it is only looked at, and not locked.
/// `path` is what errors call it.
///
/// # Errors
/// As [`chown`].
pub fn preview<R: ReadAt + ?Sized>(
    path: &Path,
    reader: &R,
    window: Window,
    request: &Request,
) -> Result<Report, ChownError> {
    let fs = Fs::open(reader, window, u64::MAX).map_err(|error| ChownError::ext(path, error))?;
    let job = Job::new(path, &fs, None, request)?;
    let (members, _, seen) = job.look(&mut |_, _| {})?;
    Ok(job.report(&members, seen))
}
