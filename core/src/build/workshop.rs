//! Where the building is done: a directory of our own below the temporary directory, which is gone at the end.
//!
//! A locked draft stands for it: made first, removed last, and swept by the next one who comes along if its maker was killed. A
//! directory without its draft is nobody's.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::Uid;

use crate::draft::{self, Draft, Kind};
use crate::litter::Litter;

const NAME: &str = "build";
const SUFFIX: &str = ".d";

/// See the module.
#[derive(Debug)]
pub(super) struct Workshop {
    dir: PathBuf,
    _litter: Litter,
    _draft: Draft,
}

impl Workshop {
    /// A new one in `tmpdir`; what killed makers have left there is taken away.
    pub(super) fn new(tmpdir: &Path) -> io::Result<Self> {
        sweep(tmpdir);
        let draft = Draft::new(tmpdir, NAME.as_ref(), Kind::New)?;
        let dir = directory_of(draft.path());
        let make = |path: &Path| DirBuilder::new().mode(0o700).create(path);
        let (litter, ()) = Litter::made(&dir, make)?;
        Ok(Self { dir, _litter: litter, _draft: draft })
    }

    /// The place of something in it.
    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        remove(&self.dir);
    }
}

fn directory_of(draft: &Path) -> PathBuf {
    let mut dir = draft.as_os_str().to_owned();
    dir.push(SUFFIX);
    dir.into()
}

/// Removes what killed makers of the caller's have left.
fn sweep(tmpdir: &Path) {
    draft::sweep(tmpdir);
    for entry in fs::read_dir(tmpdir).into_iter().flatten().flatten() {
        let is_abandoned = draft_of(&entry.file_name()).is_some_and(|name| !tmpdir.join(name).exists());
        if is_abandoned && is_own_directory(&entry.path()) {
            remove(&entry.path());
        }
    }
}

/// The draft that stands for a directory of this name.
fn draft_of(directory: &OsStr) -> Option<&str> {
    let name = directory.to_str()?.strip_suffix(SUFFIX)?;
    draft::is_draft_of(name, NAME).then_some(name)
}

fn is_own_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir() && meta.uid() == Uid::effective().as_raw())
}

/// What fakeroot has made belongs to the caller's subordinate ids, or is closed to all but root: only a user namespace with the
/// same map may remove it.
fn remove(dir: &Path) {
    if fs::remove_dir_all(dir).is_ok() {
        return;
    }
    for map in [["--map-root-user", "--map-auto"].as_slice(), &["--map-root-user"]] {
        let mut command = Command::new("unshare");
        command.arg("--user").args(map).args(["rm", "-rf", "--"]).arg(dir);
        let done = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if done.is_ok_and(|status| status.success()) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> usize {
        fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let workshop = Workshop::new(dir.path()).unwrap();
        fs::create_dir_all(workshop.join("a/b")).unwrap();
        assert_eq!(names(dir.path()), 2);
        drop(workshop);
        assert_eq!(names(dir.path()), 0);
    }

    #[test]
    fn the_abandoned_are_swept_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let live = Workshop::new(dir.path()).unwrap();
        let abandoned = dir.path().join(".build.condatainer-abcdef.new.d");
        let others = [".build.condatainer-abcdef.new.e", ".other.condatainer-abcdef.new.d", "build.d"];
        others.iter().for_each(|name| fs::create_dir(dir.path().join(name)).unwrap());
        fs::create_dir(&abandoned).unwrap();
        fs::write(abandoned.join("x"), "").unwrap();
        sweep(dir.path());
        assert!(!abandoned.exists() && live.join("").exists());
        assert_eq!(names(dir.path()), 2 + others.len());
    }
}
