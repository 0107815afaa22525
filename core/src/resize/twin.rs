//! The resized copy under a temporary name beside the image, until it takes the image's place.
//!
//! The original is only read, so whatever happens, it stays what it is. A copy that a killed run has left is recognised by its
//! name and by its lock, which nobody holds any more.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use tempfile::NamedTempFile;

use super::attributes;
use super::error::ResizeError;
use super::sparse::{self, Copied};
use crate::ext::Window;
use crate::held::{Held, Purpose};
use crate::lock::{self, Access, Availability, Guard, User};

const SUFFIX: &str = ".resizing";
/// Random characters between the image's name and the suffix.
const RANDOM: usize = 12;
/// Bytes of the image's name that are used, so that the whole stays a possible name.
const NAME: usize = 200;
/// Some file systems need a little more than the data.
const SLACK: u64 = 1 << 20;

/// Longer than a new process needs from its fork to its exec.
const EXEC_TIME: Duration = Duration::from_millis(200);

/// The copy; removed when dropped, unless it has taken the image's place.
pub(super) struct Twin<'a> {
    path: &'a Path,
    held: &'a Held,
    place: Place,
    draft: NamedTempFile,
    _lock: Guard,
    seen: (u64, i64, i64),
}

/// Where the image really lies.
struct Place {
    file: PathBuf,
    directory: PathBuf,
}

impl<'a> Twin<'a> {
    /// An empty copy beside the image that `path` leads to, locked over `bytes`, with the owner of the image.
    pub(super) fn beside(path: &'a Path, held: &'a Held, bytes: u64) -> Result<Self, ResizeError> {
        let io = |error| ResizeError::io(path, error);
        let meta = held.file.metadata().map_err(io)?;
        if meta.nlink() > 1 {
            return Err(ResizeError::HardLinks { path: path.into(), links: meta.nlink() });
        }
        let place = Place::of(path).map_err(io)?;
        if held.lock_unsupported().is_none() {
            sweep(&place);
        }
        let no_copy = |error| ResizeError::NoCopy { path: path.into(), directory: place.directory.clone(), error };
        let draft = place.draft().map_err(no_copy)?;
        let lock = lock::take(draft.as_file(), Window::whole(bytes), Access::Write);
        let lock = lock.map_err(|error| io(io::Error::other(error)))?;
        attributes::take_owner(&meta, draft.as_file()).map_err(|(what, error)| ResizeError::Attribute {
            path: path.into(),
            what,
            error,
        })?;
        Ok(Self { path, held, place, draft, _lock: lock, seen: stamp(&held.file).map_err(io)? })
    }

    pub(super) fn file(&self) -> &File {
        self.draft.as_file()
    }

    /// Copies the image, and checks before that there is room for it and for `more` bytes. `tell` is told bytes done and
    /// bytes in all; it fails in order to stop.
    pub(super) fn fill(
        &self,
        more: u64,
        tell: &mut dyn FnMut(u64, u64) -> io::Result<()>,
    ) -> Result<Copied, ResizeError> {
        let (from, to) = (&self.held.file, self.file());
        // Some file systems report fresh, unwritten data as holes.
        from.sync_data().map_err(|e| self.io(e))?;
        let copied = if sparse::reflink(from, to) { Copied::Reflink } else { Copied::Copy };
        let data = if copied == Copied::Copy { self.held.image.allocated_bytes.min(self.seen.0) } else { 0 };
        self.check_space(data.saturating_add(more).saturating_add(SLACK))?;
        if copied == Copied::Copy {
            sparse::copy(from, to, tell).map_err(|e| self.io(e))?;
        }
        Ok(copied)
    }

    fn check_space(&self, needed: u64) -> Result<(), ResizeError> {
        let directory = self.place.directory.clone();
        let stat = statvfs(&directory).map_err(|errno| self.io(errno.into()))?;
        let available = stat.blocks_available().saturating_mul(stat.fragment_size());
        if available < needed {
            return Err(ResizeError::NoSpace { path: self.path.into(), directory, needed, available });
        }
        Ok(())
    }

    /// Puts the copy in the image's place. Both stay locked until the new name is on disk.
    pub(super) fn take_place(self) -> Result<(), ResizeError> {
        let path = self.path;
        attributes::take_rest(&self.held.file, self.file()).map_err(|(what, error)| ResizeError::Attribute {
            path: path.into(),
            what,
            error,
        })?;
        self.file().sync_all().map_err(|e| self.io(e))?;
        self.look_again()?;
        let (directory, no_copy) = (self.place.directory.clone(), self.place.directory.clone());
        let renamed = self.draft.persist(&self.place.file);
        let _new =
            renamed.map_err(|e| ResizeError::NoCopy { path: path.into(), directory: no_copy, error: e.error })?;
        // The new name is there. That it may not survive a power cut is no reason to call it failed: then the old image is.
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
        Ok(())
    }

    /// Whoever got hold of the image in spite of the lock would lose what he writes.
    fn look_again(&self) -> Result<(), ResizeError> {
        let image = &self.held.image;
        let changed = |what: &str| Err(ResizeError::Changed { path: self.path.into(), what: what.into() });
        if !image.is_still_at(&self.place.file) || !image.is_still_at(self.path) {
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

impl Place {
    fn of(path: &Path) -> io::Result<Self> {
        let file = fs::canonicalize(path)?;
        let directory = file.parent().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        Ok(Self { file, directory })
    }

    fn prefix(&self) -> String {
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        let ends = name.char_indices().map(|(at, c)| at + c.len_utf8());
        let end = ends.take_while(|&end| end <= NAME).last().unwrap_or(0);
        format!(".{}.", name.get(..end).unwrap_or_default())
    }

    /// Readable by nobody else until it is finished.
    fn draft(&self) -> io::Result<NamedTempFile> {
        let prefix = self.prefix();
        let mut builder = tempfile::Builder::new();
        let draft = builder.prefix(&prefix).suffix(SUFFIX).rand_bytes(RANDOM).tempfile_in(&self.directory);
        draft.map_err(without_name)
    }

    fn is_draft(&self, name: &str) -> bool {
        let middle = name.strip_prefix(&self.prefix()).and_then(|rest| rest.strip_suffix(SUFFIX));
        middle.is_some_and(|random| random.len() == RANDOM && random.chars().all(|c| c.is_ascii_alphanumeric()))
    }
}

/// The crate tempfile adds the temporary name, which says nothing to a user.
fn without_name(error: io::Error) -> io::Error {
    match error.kind() {
        kind @ (io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::StorageFull) => {
            kind.into()
        }
        _ => error,
    }
}

/// Removes the copies of this image that killed runs have left. Called under the image's lock, so that no new one comes
/// meanwhile.
fn sweep(place: &Place) {
    let names = fs::read_dir(&place.directory).into_iter().flatten().flatten();
    let drafts = names.filter(|entry| entry.file_name().to_str().is_some_and(|name| place.is_draft(name)));
    drafts.map(|entry| entry.path()).filter(|path| is_stale(path)).for_each(|path| drop(fs::remove_file(path)));
}

/// A plain file that nobody holds locked. Where that cannot be told, it is left alone.
fn is_stale(path: &Path) -> bool {
    let Ok(meta) = fs::symlink_metadata(path) else { return false };
    let Some(file) = meta.is_file().then(|| File::open(path).ok()).flatten() else { return false };
    // A range without length reaches to the end, wherever that is.
    matches!(lock::query(&file, Window::whole(0), Access::Write), Ok(Availability::Free))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_names_are_drafts() {
        let place = Place { file: "/x/env.img".into(), directory: "/x".into() };
        assert!(place.is_draft(".env.img.aB3xYz012345.resizing"));
        for other in ["..resizing", ".aB3xYz012345.new", ".aB3xYz0123.resizing", ".aB3-Yz012345.resizing"] {
            assert!(!place.is_draft(&format!(".env.img{other}")), "{other}");
        }
        assert!(!place.is_draft(".my.img.aB3xYz012345.resizing") && !place.is_draft("env.img"));
    }

    #[test]
    fn long_names_leave_room_for_the_rest() {
        let place = Place { file: PathBuf::from("/x").join("ü".repeat(127)), directory: "/x".into() };
        assert_eq!(place.prefix().len(), 1 + NAME + 1);
    }

    #[test]
    fn a_draft_is_stale_when_nobody_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { file: dir.path().join("env.img"), directory: dir.path().into() };
        let (held, left) = (place.draft().unwrap(), place.draft().unwrap().keep().unwrap().1);
        let _lock = lock::take(held.as_file(), Window::whole(4096), Access::Write).unwrap();
        fs::write(dir.path().join(".env.img.backup.resizing"), "precious").unwrap();
        sweep(&place);
        assert!(held.path().exists() && !left.exists());
        assert!(dir.path().join(".env.img.backup.resizing").exists());
    }
}
