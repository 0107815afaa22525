//! The kernel's side.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path as HostPath;

use nix::errno::Errno;
use rustix::fs::{
    AtFlags, FallocateFlags, FileType, Gid, Mode, OFlags, RenameFlags, Uid, XattrFlags, chownat, fallocate, fchmod,
    fremovexattr, fsetxattr, ftruncate, linkat, makedev, mkdirat, mknodat, open, openat, renameat_with, statat,
    symlinkat, unlinkat,
};

use super::ops::{NAMES, Op, Path, Said, Side, attribute, content, numbered};

pub struct Kernel {
    root: OwnedFd,
}

impl Kernel {
    pub fn at(path: &HostPath) -> Self {
        Self { root: open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap() }
    }

    /// Of a new directory, where paths begin.
    pub fn in_new(path: &HostPath) -> Self {
        std::fs::create_dir(path).unwrap();
        Self::at(path)
    }

    /// The directory of a path's last name.
    fn parent(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let mut at = self.root.try_clone().unwrap();
        for name in &path[..path.len() - 1] {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            at = openat(&at, NAMES[*name], flags, Mode::empty()).map_err(plain)?;
        }
        Ok(at)
    }

    /// What a path leads to, opened; only a file or a directory.
    fn opened(&self, path: &Path) -> Result<File, Errno> {
        let (parent, name) = (self.parent(path)?, last(path));
        let kind = FileType::from_raw_mode(statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(plain)?.st_mode);
        let flags = match kind {
            FileType::RegularFile => OFlags::RDWR,
            FileType::Directory => OFlags::RDONLY,
            _ => return Err(Errno::EINVAL),
        };
        Ok(openat(&parent, name, flags, Mode::empty()).map_err(plain)?.into())
    }

    fn file(&self, path: &Path) -> Result<File, Errno> {
        let opened = self.opened(path)?;
        if opened.metadata().unwrap().is_dir() { Err(Errno::EISDIR) } else { Ok(opened) }
    }
}

fn last(path: &Path) -> &'static str {
    NAMES[path[path.len() - 1]]
}

fn plain(error: rustix::io::Errno) -> Errno {
    // A symbolic link on the way is no directory.
    if error == rustix::io::Errno::LOOP { Errno::ENOTDIR } else { Errno::from_raw(error.raw_os_error()) }
}

fn of_io(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap())
}

impl Side for Kernel {
    fn apply(&mut self, op: &Op) -> Said {
        match op {
            Op::Create(path, mode) => {
                let (parent, mode) = (self.parent(path)?, Mode::from_raw_mode((*mode).into()));
                let made =
                    openat(&parent, last(path), OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY, mode).map_err(plain)?;
                fchmod(made, mode).map_err(plain)?;
            }
            Op::Directory(path, mode) => {
                let (parent, mode) = (self.parent(path)?, Mode::from_raw_mode((*mode).into()));
                mkdirat(&parent, last(path), mode).map_err(plain)?;
                let made = openat(&parent, last(path), OFlags::RDONLY, Mode::empty()).map_err(plain)?;
                fchmod(made, mode).map_err(plain)?;
            }
            Op::Link(from, to) => {
                let (source, target) = (self.parent(from)?, self.parent(to)?);
                linkat(&source, last(from), &target, last(to), AtFlags::empty()).map_err(plain)?;
            }
            Op::Symlink(path, length) => {
                symlinkat("t".repeat(*length), self.parent(path)?, last(path)).map_err(plain)?;
            }
            Op::Device(path, number) => {
                let (parent, device) = (self.parent(path)?, makedev(number >> 8, number & 0xFF));
                let mode = Mode::from_raw_mode(0o600);
                mknodat(parent, last(path), FileType::CharacterDevice, mode, device).map_err(plain)?;
            }
            Op::Fifo(path) => {
                let mode = Mode::from_raw_mode(0o600);
                mknodat(self.parent(path)?, last(path), FileType::Fifo, mode, 0).map_err(plain)?;
            }
            Op::Unlink(path) => unlinkat(self.parent(path)?, last(path), AtFlags::empty()).map_err(plain)?,
            Op::RemoveDirectory(path) => {
                unlinkat(self.parent(path)?, last(path), AtFlags::REMOVEDIR).map_err(plain)?;
            }
            Op::Rename(from, to, how) => {
                let how = [RenameFlags::empty(), RenameFlags::NOREPLACE, RenameFlags::EXCHANGE, RenameFlags::WHITEOUT]
                    [*how as usize];
                let (source, target) = (self.parent(from)?, self.parent(to)?);
                renameat_with(&source, last(from), &target, last(to), how).map_err(plain)?;
            }
            Op::Many(path, count) => {
                let directory = self.opened(path)?;
                for number in 0..*count {
                    let (name, flags) = (numbered(number), OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY);
                    match openat(&directory, name, flags, Mode::from_raw_mode(0o600)) {
                        Ok(_) | Err(rustix::io::Errno::EXIST) => {}
                        Err(error) => return Err(plain(error)),
                    }
                }
            }
            Op::Fewer(path, count) => {
                let directory = self.opened(path)?;
                for number in 0..*count {
                    match unlinkat(&directory, numbered(number), AtFlags::empty()) {
                        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                        Err(error) => return Err(plain(error)),
                    }
                }
            }
            Op::Write(path, offset, length) => {
                let file = self.file(path)?;
                file.write_all_at(&content(*offset, *length), *offset).map_err(|error| of_io(&error))?;
            }
            Op::Truncate(path, size) => ftruncate(self.file(path)?, *size).map_err(plain)?,
            Op::Punch(path, offset, length) => {
                let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                fallocate(self.file(path)?, how, *offset, *length).map_err(plain)?;
            }
            Op::Mode(path, mode) => fchmod(self.opened(path)?, Mode::from_raw_mode((*mode).into())).map_err(plain)?,
            Op::Owner(path, uid, gid) => {
                let parent = self.parent(path)?;
                let (uid, gid) = (Some(Uid::from_raw(*uid)), Some(Gid::from_raw(*gid)));
                chownat(parent, last(path), uid, gid, AtFlags::SYMLINK_NOFOLLOW).map_err(plain)?;
            }
            Op::SetXattr(path, name, length) => {
                let file = self.opened(path)?;
                fsetxattr(file.as_fd(), attribute(*name), &content(7, *length), XattrFlags::empty()).map_err(plain)?;
            }
            Op::RemoveXattr(path, name) => {
                let file = self.opened(path)?;
                fremovexattr(file.as_fd(), attribute(*name)).map_err(plain)?;
            }
            Op::List(path) => {
                let directory = self.opened(path)?;
                if !directory.metadata().unwrap().is_dir() {
                    return Err(Errno::ENOTDIR);
                }
                let entries = rustix::fs::Dir::read_from(directory.as_fd()).map_err(plain)?;
                return Ok(entries.map(Result::unwrap).count() as u64 - 2);
            }
        }
        Ok(0)
    }
}
