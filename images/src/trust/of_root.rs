//! A file that root alone can have put there: every directory on the way is looked at, as it is passed.
//!
//! sshd and sudo ask the same of their files. Who can write to one of the directories can put another file in place of the right
//! one. The way is walked by descriptors, from the root of the file system down, so that nothing is exchanged meanwhile.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat, readlinkat};
use rustix::io::Errno;

use super::error::TrustError;
use super::mode::STICKY;
use super::open::{Opened, open_at, who_else};
use super::owners::{name_of, root_is_mapped};

/// What the kernel follows at most.
const MOST_LINKS: usize = 40;

/// Opens a file that belongs to root, as do all directories that lead to it, and that nobody else can write or replace. Links are
/// followed, if they are root's. In a directory with the sticky bit, others can write but not replace.
///
/// # Errors
/// Nothing is there ([`TrustError::is_not_found`]), or somebody else could have put it there.
pub fn open_of_root(path: &Path) -> Result<Opened, TrustError> {
    let mut way = Way::from_the_root(path)?;
    let mut links = 0;
    while let Some(part) = way.left.pop_front() {
        let is_last = way.left.is_empty();
        let at = way.at.join(&part);
        let next = way.look(&part, &at)?;
        let meta = next.metadata().map_err(|source| io_error(&at, source))?;
        match () {
            () if meta.is_symlink() => {
                links += 1;
                if links > MOST_LINKS {
                    return Err(io_error(path, Errno::LOOP.into()));
                }
                require_roots(&meta, &at)?;
                way.follow(&next, &at)?;
            }
            () if is_last => {
                let opened = open_at(&way.directory, &part, &at, OFlags::NOFOLLOW)?;
                opened.require_of_root()?;
                return Ok(opened);
            }
            () if meta.is_dir() => way.enter(next, at)?,
            () => return Err(io_error(path, Errno::NOTDIR.into())),
        }
    }
    Err(TrustError::NotAFile { path: path.into(), what: "a directory" })
}

/// How far one has come, and what is left of the path.
struct Way {
    directory: File,
    at: PathBuf,
    left: VecDeque<OsString>,
}

impl Way {
    fn from_the_root(path: &Path) -> Result<Self, TrustError> {
        let absolute = std::path::absolute(path).map_err(|source| io_error(path, source))?;
        let root = Path::new("/");
        let directory = open_path(CWD, root.as_os_str()).map_err(|errno| io_error(root, errno.into()))?;
        let mut way = Self { directory, at: root.into(), left: parts(&absolute) };
        way.enter(way.directory.try_clone().map_err(|source| io_error(root, source))?, root.into())?;
        Ok(way)
    }

    fn look(&self, part: &OsStr, at: &Path) -> Result<File, TrustError> {
        open_path(&self.directory, part).map_err(|errno| io_error(at, errno.into()))
    }

    fn enter(&mut self, directory: File, at: PathBuf) -> Result<(), TrustError> {
        let meta = directory.metadata().map_err(|source| io_error(&at, source))?;
        require_roots(&meta, &at)?;
        let owner = || name_of(meta.uid());
        match who_else(&meta, &directory).filter(|_| meta.mode() & STICKY == 0) {
            Some(who) => Err(TrustError::Writable { path: at, owner: owner(), who }),
            None => {
                // `..` leads back to a directory that was passed already, or the root.
                self.at = if at.ends_with("..") { normal(&at) } else { at };
                self.directory = directory;
                Ok(())
            }
        }
    }

    fn follow(&mut self, link: &File, at: &Path) -> Result<(), TrustError> {
        let target = readlinkat(link, "", Vec::new()).map_err(|errno| io_error(at, errno.into()))?;
        let target = Path::new(OsStr::from_bytes(target.as_bytes()));
        if target.is_absolute() {
            let rest = std::mem::take(&mut self.left);
            *self = Self::from_the_root(target)?;
            self.left.extend(rest);
        } else {
            for part in parts(target).into_iter().rev() {
                self.left.push_front(part);
            }
        }
        Ok(())
    }
}

fn open_path(directory: impl std::os::fd::AsFd, name: &OsStr) -> Result<File, Errno> {
    openat(directory, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).map(File::from)
}

/// The names of a path, with `..` where it says so: after a link that is another directory than the text suggests.
fn parts(path: &Path) -> VecDeque<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(_) | Component::ParentDir => Some(part.as_os_str().to_owned()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(name).collect()
}

/// `/a/b/..` → `/a`; no part of it is a link by now.
fn normal(path: &Path) -> PathBuf {
    let up = path.parent().and_then(Path::parent);
    up.unwrap_or(Path::new("/")).into()
}

/// Inside a container, which does not have the machine's root, all ids are the caller's own or his subordinate ids, and root's look
/// like a stranger's: whose its directories are says nothing there.
fn require_roots(meta: &Metadata, at: &Path) -> Result<(), TrustError> {
    if meta.uid() == 0 || !root_is_mapped() {
        return Ok(());
    }
    Err(TrustError::Owner { path: at.into(), owner: name_of(meta.uid()), trusted: "root".into() })
}

fn io_error(path: &Path, source: io::Error) -> TrustError {
    TrustError::Io { path: path.into(), source }
}
