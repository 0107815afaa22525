//! A file in the making, beside the place where it is to be: hidden, locked by its maker, and taken away unless it is finished.
//!
//! A maker that was killed by SIGKILL leaves its draft behind, `.NAME.condatainer-XXXXXX.SUFFIX`. The next one that comes along
//! in that directory removes it: the kernel has released the lock, and the name says that it is one of ours.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use tempfile::{NamedTempFile, PersistError};

use super::draft_name::{Kind, RANDOM, prefix};
use super::on_signal::RemovedOnSignal;
use crate::lock::{self, Access, Guard, LockError};
use crate::sparse;
use crate::system::process::Process;
use crate::trust::open_dir::directory_of;

/// Nobody else's to read until it is finished: an image holds files that inside are their owner's alone. What may be read by others
/// is opened to them at the end.
const MODE: u32 = 0o600;
/// Somebody who sweeps may look at a fresh draft before it is locked, and remove it.
const ATTEMPTS: u32 = 10;
/// See the module.
#[derive(Debug)]
pub struct Draft {
    temp: NamedTempFile,
    guard: Guard,
    _on_signal: RemovedOnSignal,
}

impl Draft {
    /// An empty file in `directory`, named after `target` and locked.
    pub fn new(directory: &Path, target: &OsStr, kind: Kind) -> io::Result<Self> {
        for _ in 0..ATTEMPTS {
            let (temp, on_signal) = make(directory, target, kind)?;
            match lock::take(temp.as_file(), lock::WHOLE_FILE, Access::Write) {
                Ok(guard) if is_at(temp.path(), temp.as_file()) => {
                    return Ok(Self { temp, guard, _on_signal: on_signal });
                }
                Ok(_) | Err(LockError::Busy(_)) => {}
                Err(LockError::Io(error)) => return Err(error),
            }
        }
        Err(io::Error::other("somebody removes each temporary file at once"))
    }

    /// The file, open for reading and writing.
    #[must_use]
    pub fn file(&self) -> &File {
        self.temp.as_file()
    }

    /// Where it is until it is finished.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.temp.path()
    }

    /// The file opened anew, for a tool: one that outlives us does not hold the lock then, by which the next maker tells that
    /// the draft was left behind.
    pub(crate) fn reopen(&self) -> io::Result<File> {
        let again = format!("/proc/self/fd/{}", self.file().as_raw_fd());
        OpenOptions::new().read(true).write(true).open(again)
    }

    /// Opens the file to those to whom `mode` would, as far as the caller's umask allows.
    pub(super) fn open_to(&self, mode: u32) -> io::Result<()> {
        self.file().set_permissions(Permissions::from_mode(mode & !umask()))
    }

    /// Takes the name of `place`, an empty draft in another directory; on another file system by a copy, of which `progress` is told.
    pub(crate) fn move_to(self, place: Self, progress: &mut dyn FnMut(u64, u64)) -> io::Result<Self> {
        match fs::rename(self.path(), place.path()) {
            // Both names are taken away then.
            Ok(()) if !is_at(place.path(), self.file()) => {
                Err(io::Error::other("somebody has put another file in the place of the temporary one"))
            }
            Ok(()) => {
                // The old name of the one and the file of the other are gone by now.
                let (file, _) = self.temp.into_parts();
                let (_, path) = place.temp.into_parts();
                let temp = NamedTempFile::from_parts(file, path);
                Ok(Self { temp, guard: self.guard, _on_signal: place._on_signal })
            }
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                let mut tell = |done, total| {
                    progress(done, total);
                    Ok(())
                };
                sparse::copy(self.file(), place.file(), &mut tell)?;
                Ok(place)
            }
            Err(error) => Err(error),
        }
    }

    /// Gives the file its real name, unless something has it. The lock is held until the value returned is dropped.
    pub(crate) fn finish(self, target: &Path) -> io::Result<(File, Guard)> {
        self.put(target, |temp| temp.persist_noclobber(target))
    }

    /// As [`Draft::finish`], in place of whatever has the name.
    pub(crate) fn replace(self, target: &Path) -> io::Result<(File, Guard)> {
        self.put(target, |temp| temp.persist(target))
    }

    /// What a killed maker leaves.
    #[cfg(test)]
    pub(super) fn abandon(self) -> std::path::PathBuf {
        self.temp.into_temp_path().keep().unwrap()
    }

    fn put(
        self,
        target: &Path,
        rename: impl FnOnce(NamedTempFile) -> Result<File, PersistError>,
    ) -> io::Result<(File, Guard)> {
        self.file().sync_all()?;
        let file = rename(self.temp).map_err(|error| error.error)?;
        // The name is there. That it may not survive a power cut is no reason to call it failed: then what was before is there.
        let _ = File::open(directory_of(target)).and_then(|directory| directory.sync_all());
        Ok((file, self.guard))
    }
}

/// The system tells it only to whoever sets it, or here (since Linux 4.7).
fn umask() -> u32 {
    let told = Process::this().status("Umask");
    told.and_then(|mask| u32::from_str_radix(&mask, 8).ok()).unwrap_or(0o077)
}

fn make(directory: &Path, target: &OsStr, kind: Kind) -> io::Result<(NamedTempFile, RemovedOnSignal)> {
    let prefix = prefix(target);
    let mut on_signal = None;
    let mut open = |path: &Path| {
        let create = |path: &Path| OpenOptions::new().read(true).write(true).create_new(true).mode(MODE).open(path);
        let (known, file) = RemovedOnSignal::file(path, create)?;
        on_signal = Some(known);
        Ok(file)
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(kind.suffix()).rand_bytes(RANDOM);
    let temp = builder.permissions(Permissions::from_mode(MODE)).make_in(directory, &mut open)?;
    let on_signal = on_signal.ok_or_else(|| io::Error::other("no temporary file was made"))?;
    Ok((temp, on_signal))
}

fn is_at(path: &Path, file: &File) -> bool {
    let (there, here) = (fs::symlink_metadata(path), file.metadata());
    there.is_ok_and(|there| here.is_ok_and(|here| (there.dev(), there.ino()) == (here.dev(), here.ino())))
}

#[cfg(test)]
mod tests {
    use super::super::draft_name::{LONGEST_NAME, MARK, is_draft_name};
    use super::super::{names, sweep};
    use super::*;
    use condatainer_formats::ext::Window;

    #[test]
    fn long_names_leave_room_for_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["ä".repeat(127), "𝄞".repeat(63), "x".repeat(255)] {
            assert!(prefix(name.as_ref()).len() <= 1 + LONGEST_NAME + MARK.len());
            for kind in Kind::ALL {
                let draft = Draft::new(dir.path(), name.as_ref(), kind).unwrap();
                assert!(is_draft_name(draft.path().file_name().unwrap()));
            }
        }
    }

    #[test]
    fn a_finished_one_never_replaces_anything_unless_told() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("env.img");
        fs::write(&target, "precious").unwrap();
        let draft = || Draft::new(dir.path(), "env.img".as_ref(), Kind::New).unwrap();
        let error = draft().finish(&target).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(
            (names(dir.path()), fs::read_to_string(&target).unwrap()),
            (vec!["env.img".into()], "precious".into())
        );
        draft().replace(&target).unwrap();
        assert_eq!((names(dir.path()), fs::read_to_string(&target).unwrap()), (vec!["env.img".into()], String::new()));
    }

    #[test]
    fn a_draft_is_nobody_elses_to_read_until_it_is_opened_to_them() {
        let dir = tempfile::tempdir().unwrap();
        for kind in Kind::ALL {
            let draft = Draft::new(dir.path(), "env.img".as_ref(), kind).unwrap();
            let mode = || draft.file().metadata().unwrap().mode() & 0o777;
            assert_eq!(mode(), 0o600);
            draft.open_to(0o640).unwrap();
            assert_eq!(mode(), 0o640 & !umask());
        }
    }

    #[test]
    fn one_takes_anothers_place() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let draft = Draft::new(from.path(), "env.img".as_ref(), Kind::New).unwrap();
        io::Write::write_all(&mut draft.file(), b"made").unwrap();
        let place = Draft::new(to.path(), "env.img".as_ref(), Kind::New).unwrap();
        let draft = draft.move_to(place, &mut |_, _| {}).unwrap();
        assert_eq!((names(from.path()).len(), sweep(to.path())), (0, vec![]), "the lock moves along");
        draft.finish(&to.path().join("env.img")).unwrap();
        assert_eq!(
            (names(to.path()), fs::read(to.path().join("env.img")).unwrap()),
            (vec!["env.img".into()], b"made".to_vec())
        );
    }

    /// Where others may rename things, what is moved may be theirs.
    #[test]
    fn nobody_elses_file_takes_its_place() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let draft = Draft::new(from.path(), "env.img".as_ref(), Kind::New).unwrap();
        let place = Draft::new(to.path(), "env.img".as_ref(), Kind::New).unwrap();
        fs::write(from.path().join("theirs"), "hostile").unwrap();
        fs::rename(from.path().join("theirs"), draft.path()).unwrap();
        let error = draft.move_to(place, &mut |_, _| {}).unwrap_err();
        assert!(error.to_string().contains("another file"), "{error}");
        assert_eq!(names(to.path()), [""; 0]);
    }

    #[test]
    fn the_lock_is_the_drafts_and_not_that_of_a_tool() {
        let dir = tempfile::tempdir().unwrap();
        let draft = Draft::new(dir.path(), "env.img".as_ref(), Kind::Resized).unwrap();
        let tool = draft.reopen().unwrap();
        let far = Window { offset: 1 << 40, size: 4096 };
        assert!(matches!(lock::take(&tool, far, Access::Write), Err(LockError::Busy(_))));
        drop(draft);
        assert!(lock::take(&tool, far, Access::Write).is_ok());
    }
}
