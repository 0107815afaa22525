//! A directory of the machine as a layer. Symbolic links in it are told and never followed, so nothing outside shows.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, fstatat, major, minor};
use rustix::fs::Dir;
use xattr::FileExt;

use super::error::LowerError;
use super::layer::{Child, Layer};
use super::node::{At, LowerNode};
use crate::overlay::content::upper_of;
use crate::overlay::path::{join, split};
use condatainer_formats::ext::{FileType, Ids, Xattr};
use condatainer_formats::overlayfs::{is_opaque, is_users};

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

pub(super) struct LowerDirectory {
    path: PathBuf,
    root: Rc<OwnedFd>,
    last: RefCell<Option<(Vec<u8>, Rc<OwnedFd>)>>,
}

impl LowerDirectory {
    pub(super) fn new(path: &Path, directory: File) -> Self {
        Self { path: path.into(), root: Rc::new(directory.into()), last: RefCell::default() }
    }

    /// What a container gets of it.
    pub(super) fn content(self) -> Result<Self, LowerError> {
        match upper_of(&self.root) {
            Ok(Some(upper)) => Ok(Self::new(&self.path.join("upper"), upper)),
            Ok(None) => Ok(self),
            Err(error) if error.raw_os_error() == Some(Errno::ELOOP as i32) => {
                Err(LowerError::Unusable { path: self.path.join("upper"), what: "is a symbolic link".into() })
            }
            Err(error) => Err(LowerError::io(&self.path.join("upper"), error)),
        }
    }

    /// Opens a directory name by name, as no single call does on every kernel without following links.
    fn enter(&self, path: &[u8]) -> Result<Rc<OwnedFd>, Errno> {
        if let Some((_, open)) = self.last.borrow().as_ref().filter(|(last, _)| last == path) {
            return Ok(Rc::clone(open));
        }
        let mut open = Rc::clone(&self.root);
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            open = Rc::new(openat(open.as_fd(), name, DIRECTORY, Mode::empty())?);
        }
        *self.last.borrow_mut() = Some((path.to_vec(), Rc::clone(&open)));
        Ok(open)
    }

    fn describe(&self, at: &At) -> Result<LowerNode, Errno> {
        let (directory, name) = split(place(at));
        let directory = self.enter(directory)?;
        let stat = fstatat(directory.as_fd(), name.unwrap_or(b"."), AtFlags::AT_SYMLINK_NOFOLLOW)?;
        let kind = kind(&stat);
        let link = name.filter(|_| kind == FileType::Symlink);
        let target = link.map(|name| readlinkat(directory.as_fd(), name)).transpose()?;
        Ok(LowerNode { target: target.map(OsStringExt::into_vec), ..node(&stat, kind, at.clone()) })
    }

    fn each_child(&self, at: &At, visit: &mut dyn FnMut(Child)) -> io::Result<()> {
        let path = place(at);
        let open = self.enter(path)?;
        for entry in Dir::new(openat(open.as_fd(), ".", DIRECTORY, Mode::empty())?)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                let kind = FileType::listed(entry.file_type().as_raw_mode());
                visit(Child { name: name.to_vec(), at: At::Path(join(path, name).into()), kind });
            }
        }
        Ok(())
    }

    fn open_file(&self, at: &At) -> Result<File, Errno> {
        let (directory, name) = split(place(at));
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        openat(self.enter(directory)?.as_fd(), name.unwrap_or(b"."), flags, Mode::empty()).map(File::from)
    }

    fn any_xattr(&self, at: &At, wanted: fn(&Xattr) -> bool) -> io::Result<bool> {
        let open = self.open_file(at)?;
        for name in open.list_xattr().map(Some).or_else(unsupported)?.into_iter().flatten() {
            let value = open.get_xattr(&name)?.unwrap_or_default();
            if wanted(&Xattr { name: name.into_vec(), value }) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn with_path<T>(&self, at: &At, result: Result<T, impl Into<io::Error>>) -> Result<T, LowerError> {
        result.map_err(|error| LowerError::io(&self.path.join(OsStr::from_bytes(place(at))), error.into()))
    }
}

/// A file system without attributes has no opaque directories.
fn unsupported<T>(error: io::Error) -> io::Result<Option<T>> {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(None),
        _ => Err(error),
    }
}

fn place(at: &At) -> &[u8] {
    match at {
        At::Path(path) => path,
        _ => b"",
    }
}

fn kind(stat: &FileStat) -> FileType {
    FileType::from_mode((stat.st_mode & 0xFFFF) as u16)
}

fn node(stat: &FileStat, kind: FileType, at: At) -> LowerNode {
    let number = |part: u64| u32::try_from(part).unwrap_or(u32::MAX);
    let device = match kind {
        FileType::CharDevice | FileType::BlockDevice => (number(major(stat.st_rdev)), number(minor(stat.st_rdev))),
        _ => (0, 0),
    };
    LowerNode {
        kind,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mode: (stat.st_mode & 0o7777) as u16,
        ids: Ids { uid: stat.st_uid, gid: stat.st_gid },
        mtime: stat.st_mtime,
        links: number(stat.st_nlink),
        device,
        target: None,
        host_ids: true,
        layer: 0,
        at,
    }
}

impl Layer for LowerDirectory {
    fn path(&self) -> &Path {
        &self.path
    }

    fn root(&self) -> At {
        At::Path(Rc::from([]))
    }

    fn node(&self, at: &At) -> Result<LowerNode, LowerError> {
        self.with_path(at, self.describe(at))
    }

    fn list(&self, directory: &At, visit: &mut dyn FnMut(Child)) -> Result<(), LowerError> {
        self.with_path(directory, self.each_child(directory, visit))
    }

    fn is_opaque(&self, directory: &At) -> Result<bool, LowerError> {
        self.with_path(directory, self.any_xattr(directory, is_opaque))
    }

    fn is_users(&self, at: &At) -> Result<bool, LowerError> {
        // What cannot be opened is no user's, as far as anybody can tell.
        Ok(self.any_xattr(at, is_users).unwrap_or(false))
    }

    fn read(&self, file: &At, visit: &mut dyn FnMut(&mut dyn Read) -> io::Result<()>) -> Result<(), LowerError> {
        let mut content = self.with_path(file, self.open_file(file))?;
        self.with_path(file, visit(&mut content))
    }
}
