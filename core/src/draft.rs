//! A file under construction: hidden, under a name of its own, locked by its maker, and taken away unless it is finished.
//!
//! A maker that was killed by SIGKILL leaves its draft behind. The next one that comes along in that directory removes it: the
//! kernel has released the lock, and the name says that it is one of ours.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::libc::{O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK};
use nix::unistd::Uid;
use tempfile::NamedTempFile;

use crate::ext::Window;
use crate::litter::Litter;
use crate::lock::{self, Access, Guard, LockError};
use crate::sparse;

/// Between the name of the target and the random letters; nobody names a file like this by himself.
const MARK: &str = ".condatainer-";
const SUFFIX: &str = ".new";
const RANDOM: usize = 6;
/// A name of a file has room for 255 bytes, the mark included.
const LONGEST_NAME: usize = 64;
/// Somebody who sweeps may look at a fresh draft before it is locked, and remove it.
const ATTEMPTS: u32 = 10;

/// See the module.
#[derive(Debug)]
pub(crate) struct Draft {
    temp: NamedTempFile,
    _guard: Guard,
    _litter: Litter,
}

impl Draft {
    /// An empty file in `directory`, named after `target` and locked over its first `size` bytes. Its mode is the caller's umask's
    /// choice, as for any new file.
    pub(crate) fn new(directory: &Path, target: &OsStr, size: u64) -> io::Result<Self> {
        for _ in 0..ATTEMPTS {
            let (temp, litter) = make(directory, target)?;
            match lock::take(temp.as_file(), Window::whole(size), Access::Write) {
                Ok(guard) if is_at(temp.path(), temp.as_file()) => {
                    return Ok(Self { temp, _guard: guard, _litter: litter });
                }
                Ok(_) | Err(LockError::Busy(_)) => {}
                Err(LockError::Io(error)) => return Err(error),
            }
        }
        Err(io::Error::other("somebody removes each temporary file at once"))
    }

    pub(crate) fn file(&self) -> &File {
        self.temp.as_file()
    }

    pub(crate) fn path(&self) -> &Path {
        self.temp.path()
    }

    /// Takes the name of `place`, an empty draft in another directory; on another file system by a copy, of which `progress` is told.
    pub(crate) fn move_to(self, place: Self, progress: &mut dyn FnMut(u64, u64)) -> io::Result<Self> {
        match fs::rename(self.path(), place.path()) {
            Ok(()) => {
                // The old name of the one and the file of the other are gone by now.
                let (file, _) = self.temp.into_parts();
                let (_, path) = place.temp.into_parts();
                let temp = NamedTempFile::from_parts(file, path);
                Ok(Self { temp, _guard: self._guard, _litter: place._litter })
            }
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                sparse::copy(self.file(), place.file(), progress)?;
                Ok(place)
            }
            Err(error) => Err(error),
        }
    }

    /// Gives the file its real name, unless something has it. The lock is held until the value returned is dropped.
    pub(crate) fn finish(self, target: &Path) -> io::Result<(File, Guard)> {
        let file = self.temp.persist_noclobber(target).map_err(|error| error.error)?;
        Ok((file, self._guard))
    }
}

fn make(directory: &Path, target: &OsStr) -> io::Result<(NamedTempFile, Litter)> {
    let name: String = target.to_string_lossy().chars().take(LONGEST_NAME).collect();
    let prefix = format!(".{name}{MARK}");
    let mut litter = None;
    let mut open = |path: &Path| {
        let create = |path: &Path| OpenOptions::new().read(true).write(true).create_new(true).mode(0o666).open(path);
        let (known, file) = Litter::made(path, create)?;
        litter = Some(known);
        Ok(file)
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(SUFFIX).rand_bytes(RANDOM).permissions(Permissions::from_mode(0o666));
    let temp = builder.make_in(directory, &mut open)?;
    let litter = litter.ok_or_else(|| io::Error::other("no temporary file was made"))?;
    Ok((temp, litter))
}

fn is_at(path: &Path, file: &File) -> bool {
    let (there, here) = (fs::symlink_metadata(path), file.metadata());
    there.is_ok_and(|there| here.is_ok_and(|here| (there.dev(), there.ino()) == (here.dev(), here.ino())))
}

/// Removes the drafts in `directory` that a killed maker of the caller's left behind, and tells which. What cannot be proven to be
/// abandoned stays: where the file system has no locks, everything.
pub(crate) fn sweep(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let drafts = entries.filter(|entry| is_draft_name(&entry.file_name())).map(|entry| entry.path());
    drafts.filter(|path| remove_abandoned(path).unwrap_or(false)).collect()
}

fn is_draft_name(name: &OsStr) -> bool {
    let inner = name.to_str().and_then(|name| name.strip_prefix('.')?.strip_suffix(SUFFIX)?.rsplit_once(MARK));
    inner.is_some_and(|(name, random)| {
        !name.is_empty() && random.len() == RANDOM && random.chars().all(|c| c.is_ascii_alphanumeric())
    })
}

fn remove_abandoned(path: &Path) -> io::Result<bool> {
    let flags = O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() || meta.uid() != Uid::effective().as_raw() {
        return Ok(false);
    }
    match lock::take(&file, Window::whole(i64::MAX as u64), Access::Write) {
        Ok(guard) if guard.unsupported.is_none() && is_at(path, &file) => fs::remove_file(path).map(|()| true),
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// What a killed maker leaves.
    fn abandon(directory: &Path, target: &str) -> String {
        let draft = Draft::new(directory, target.as_ref(), 4096).unwrap();
        let path = draft.temp.into_temp_path().keep().unwrap();
        path.file_name().unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn the_abandoned_are_swept_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let live = Draft::new(dir.path(), "env.img".as_ref(), 4096).unwrap();
        let live_name = live.path().file_name().unwrap().to_str().unwrap().to_owned();
        let (one, two) = (abandon(dir.path(), "env.img"), abandon(dir.path(), "other name"));
        let innocent = [".condatainer-abcdef.new", ".env.img.condatainer-abcde.new", ".env.img.abcdef.new", "env.img"];
        innocent.iter().for_each(|name| fs::write(dir.path().join(name), "").unwrap());
        let link = ".linked.condatainer-abcdef.new";
        std::os::unix::fs::symlink("env.img", dir.path().join(link)).unwrap();
        fs::create_dir(dir.path().join(".dir.condatainer-abcdef.new")).unwrap();

        let mut swept = sweep(dir.path());
        swept.sort();
        let mut expected = vec![dir.path().join(one), dir.path().join(two)];
        expected.sort();
        assert_eq!(swept, expected);
        let left = names(dir.path());
        assert_eq!(left.len(), innocent.len() + 3, "{left:?}");
        assert!(left.contains(&live_name) && left.contains(&link.to_owned()));
        drop(live);
        assert_eq!(names(dir.path()).len(), innocent.len() + 2);
    }

    #[test]
    fn long_names_fit() {
        let dir = tempfile::tempdir().unwrap();
        let name = "ä".repeat(127);
        let draft = Draft::new(dir.path(), name.as_ref(), 4096).unwrap();
        assert!(is_draft_name(draft.path().file_name().unwrap()));
    }

    #[test]
    fn a_finished_one_never_replaces_anything() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("env.img");
        fs::write(&target, "precious").unwrap();
        let error = Draft::new(dir.path(), "env.img".as_ref(), 4096).unwrap().finish(&target).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(names(dir.path()), ["env.img"]);
    }

    #[test]
    fn one_takes_anothers_place() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let draft = Draft::new(from.path(), "env.img".as_ref(), 4096).unwrap();
        io::Write::write_all(&mut draft.file(), b"made").unwrap();
        let place = Draft::new(to.path(), "env.img".as_ref(), 4096).unwrap();
        let draft = draft.move_to(place, &mut |_, _| {}).unwrap();
        assert_eq!((names(from.path()).len(), sweep(to.path())), (0, vec![]), "the lock moves along");
        draft.finish(&to.path().join("env.img")).unwrap();
        assert_eq!(
            (names(to.path()), fs::read(to.path().join("env.img")).unwrap()),
            (vec!["env.img".into()], b"made".to_vec())
        );
    }
}
