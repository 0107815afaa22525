//! A directory of our own in a place that others may write to: only its maker can enter it, and it is gone at the end.
//!
//! A mark inside says whose it is, and is locked as long as its maker lives. Names prove nothing, because whoever may write to the
//! place can rename things; but nobody else can put a mark into a directory of the caller's. So the next one who comes along
//! removes what a killed maker has left, and nothing else.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use rustix::fs::OFlags;

use super::on_signal::RemovedOnSignal;
use crate::lock::{self, Access, Guard, LockError};
use crate::system::process::host_name;
use crate::trust::open_dir::OpenDir;

const MARK: &str = ".condatainer-own";
/// It gets its name when it is locked.
const NEW_MARK: &str = ".condatainer-new";
/// What a mark says is short; more is not one of ours.
const MAX_MARK: u64 = 512;

const RANDOM: usize = 6;
const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
/// Others may have the name that was thought of.
const ATTEMPTS: u32 = 100;

/// See the module.
#[derive(Debug)]
pub struct PrivateDir {
    parent: OpenDir,
    name: OsString,
    dir: OpenDir,
    path: PathBuf,
    is_there: bool,
    mark: Option<Guard>,
    _on_signal: RemovedOnSignal,
}

impl PrivateDir {
    /// A new one, `parent/PREFIXxxxxxx`.
    pub fn new(parent: &Path, prefix: &str) -> io::Result<Self> {
        let place = OpenDir::at(parent)?;
        for _ in 0..ATTEMPTS {
            let name = random_name(prefix);
            match RemovedOnSignal::directory(&place, &name, |place| place.make(&name).and_then(|()| place.child(&name)))
            {
                Ok((on_signal, dir)) => {
                    require_fresh(&dir)?;
                    let path = parent.join(&name);
                    let mut made =
                        Self { parent: place, name, dir, path, is_there: true, mark: None, _on_signal: on_signal };
                    made.mark = Some(mark(&made.dir)?);
                    return Ok(made);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Where it is, unless somebody has moved it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether its path leads to it and to nothing else.
    pub fn is_in_place(&self) -> bool {
        let there = fs::symlink_metadata(&self.path).map(|meta| (meta.dev(), meta.ino()));
        there.is_ok_and(|there| self.dir.identity().is_ok_and(|ours| ours == there))
    }

    /// Whether there is something of this name in it.
    pub fn has(&self, name: &str) -> bool {
        self.dir.stat_of(name.as_ref()).is_ok()
    }

    /// Removes it with all that is in it.
    pub fn remove(mut self) -> io::Result<()> {
        self.clear()
    }

    fn clear(&mut self) -> io::Result<()> {
        let removed = match std::mem::take(&mut self.is_there) {
            true => self.parent.remove_tree(&self.name, &self.dir),
            false => Ok(()),
        };
        self.mark = None;
        removed
    }
}

impl Drop for PrivateDir {
    fn drop(&mut self) {
        // There is nobody who could be told.
        let _ = self.clear();
    }
}

/// What is ours and fresh is empty. Anything else is what somebody has put there in the instant after it was made.
fn require_fresh(dir: &OpenDir) -> io::Result<()> {
    let stat = dir.stat()?;
    match stat.st_uid == geteuid().as_raw() && stat.st_mode & 0o077 == 0 && dir.names()?.is_empty() {
        true => Ok(()),
        false => Err(io::Error::other("somebody has put something else in its place")),
    }
}

fn mark(dir: &OpenDir) -> io::Result<Guard> {
    let mut file = dir.open(NEW_MARK.as_ref(), OFlags::CREATE | OFlags::EXCL | OFlags::RDWR)?;
    file.write_all(words().as_bytes())?;
    let guard = lock::take(&file, lock::WHOLE_FILE, Access::Write).map_err(|error| match error {
        LockError::Io(error) => error,
        LockError::Busy(_) => io::Error::other(error),
    })?;
    dir.rename(NEW_MARK.as_ref(), MARK.as_ref())?;
    Ok(guard)
}

/// Locks may not reach from one machine to another, so a mark is that of one.
fn words() -> String {
    format!("condatainer on {}\n", host_name())
}

/// Removes the directories `parent/PREFIXxxxxxx` that killed makers of the caller's have left, and tells which. What cannot be
/// proven to be one stays.
pub fn sweep(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(place) = OpenDir::at(parent) else { return Vec::new() };
    let names = place.names().unwrap_or_default().into_iter().filter(|name| is_one(name, prefix));
    names.filter(|name| remove_abandoned(&place, name).unwrap_or(false)).map(|name| parent.join(name)).collect()
}

fn remove_abandoned(place: &OpenDir, name: &OsStr) -> io::Result<bool> {
    let dir = place.child(name)?;
    let caller = geteuid().as_raw();
    if dir.stat()?.st_uid != caller {
        return Ok(false);
    }
    let mark = dir.open(MARK.as_ref(), OFlags::RDWR)?;
    let meta = mark.metadata()?;
    let mut text = String::new();
    let is_ours = meta.is_file() && meta.uid() == caller && meta.nlink() == 1;
    if !is_ours || (&mark).take(MAX_MARK).read_to_string(&mut text).is_err() || text != words() {
        return Ok(false);
    }
    match lock::take(&mark, lock::WHOLE_FILE, Access::Write) {
        Ok(guard) if guard.unsupported.is_none() => place.remove_tree(name, &dir).map(|()| true),
        _ => Ok(false),
    }
}

fn is_one(name: &OsStr, prefix: &str) -> bool {
    let random = name.to_str().and_then(|name| name.strip_prefix(prefix));
    random.is_some_and(|random| random.len() == RANDOM && random.bytes().all(|letter| LETTERS.contains(&letter)))
}

/// The standard library seeds its hash tables with it; that the name cannot be foreseen is not relied on.
fn random_name(prefix: &str) -> OsString {
    let mut number = RandomState::new().hash_one(prefix);
    let mut name = prefix.to_owned();
    for _ in 0..RANDOM {
        let letter = usize::try_from(number % LETTERS.len() as u64).unwrap_or(0);
        name.push(LETTERS[letter].into());
        number /= LETTERS.len() as u64;
    }
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn names(dir: &Path) -> usize {
        fs::read_dir(dir).unwrap().count()
    }

    /// What a killed maker leaves.
    fn abandon(parent: &Path) -> PathBuf {
        let mut own = PrivateDir::new(parent, "x-").unwrap();
        fs::create_dir(own.path().join("upper")).unwrap();
        own.is_there = false;
        own.path.clone()
    }

    #[test]
    fn it_is_its_makers_alone_and_goes_with_all_that_is_in_it() {
        let place = tempfile::tempdir().unwrap();
        let own = PrivateDir::new(place.path(), "x-").unwrap();
        assert_eq!(fs::metadata(own.path()).unwrap().permissions().mode() & 0o777, 0o700);
        fs::create_dir_all(own.path().join("upper/a")).unwrap();
        assert!(own.is_in_place());
        own.remove().unwrap();
        assert_eq!(names(place.path()), 0);
        drop(PrivateDir::new(place.path(), "x-").unwrap());
        assert_eq!(names(place.path()), 0);
    }

    #[test]
    fn what_has_taken_its_place_is_noticed_and_stays() {
        let place = tempfile::tempdir().unwrap();
        let own = PrivateDir::new(place.path(), "x-").unwrap();
        let work = place.path().join("work");
        fs::create_dir_all(work.join("upper")).unwrap();
        fs::write(work.join("upper/thesis"), "").unwrap();
        fs::rename(own.path(), place.path().join("aside")).unwrap();
        symlink(&work, own.path()).unwrap();
        assert!(!own.is_in_place());
        own.remove().unwrap_err();
        assert!(work.join("upper/thesis").exists());
    }

    #[test]
    fn the_abandoned_are_swept_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        let live = PrivateDir::new(place.path(), "x-").unwrap();
        let abandoned = abandon(place.path());
        // Renamed to the pattern by somebody: a directory of the caller's, and a link to one.
        fs::create_dir(at("x-thesis")).unwrap();
        fs::write(at("x-thesis/chapter"), "").unwrap();
        symlink(&abandoned, at("x-linked")).unwrap();
        fs::create_dir(at("x-other1")).unwrap();
        symlink(live.path().join(MARK), at("x-other1").join(MARK)).unwrap();
        fs::create_dir(at("x-other2")).unwrap();
        fs::write(at("x-other2").join(MARK), "condatainer on elsewhere\n").unwrap();
        assert_eq!(sweep(place.path(), "x-"), [abandoned]);
        assert!(at("x-thesis/chapter").exists() && live.is_in_place());
        assert_eq!(names(place.path()), 5);
        // A live one is locked, whatever its name is.
        fs::rename(live.path(), at("x-renamd")).unwrap();
        assert_eq!(sweep(place.path(), "x-"), Vec::<PathBuf>::new());
    }
}
