//! Our side.

use std::fs::File;
use std::sync::Arc;

use condatainer_formats::ext::{FileType, Ids, Window, raw::ROOT_INO};
use condatainer_writer::device::FileDevice;
use condatainer_writer::{Changes, Error, How, Named, New, Renaming, Volume};
use nix::errno::Errno;

use super::image::Image;
use super::ops::{NAMES, Op, Path, Said, Side, attribute, content, numbered};
use super::tree::{Tree, of_volume};

pub struct Ours {
    volume: Volume,
    /// Where paths begin.
    root: u32,
}

impl Ours {
    pub fn open(image: &Image) -> Self {
        let file = File::options().read(true).write(true).open(image.path()).unwrap();
        let size = file.metadata().unwrap().len();
        let volume = Volume::open(Arc::new(FileDevice::new(file, Window::whole(size)))).unwrap();
        Self { volume, root: ROOT_INO }
    }

    pub fn tree(&self) -> Tree {
        of_volume(&self.volume)
    }

    pub fn close(self) {
        self.volume.end().unwrap();
    }

    /// Paths begin in a new directory of the root from now on; what was done before lasts.
    pub fn enter(&mut self, name: &str) {
        self.volume.commit().unwrap();
        self.root = self.volume.make(ROOT_INO, name.as_bytes(), &new(FileType::Directory, 0o755)).unwrap().ino;
    }

    fn look_up(&self, directory: u32, name: &str) -> Result<Named, Errno> {
        let named = self.volume.lookup(directory, name.as_bytes()).map_err(code)?;
        self.volume.release(named.ino, 1).map_err(code)?;
        Ok(named)
    }

    fn parent(&self, path: &Path) -> Result<u32, Errno> {
        let mut at = self.root;
        for name in &path[..path.len() - 1] {
            let named = self.look_up(at, NAMES[*name])?;
            if named.stat.kind != FileType::Directory {
                return Err(Errno::ENOTDIR);
            }
            at = named.ino;
        }
        Ok(at)
    }

    fn named(&self, path: &Path) -> Result<Named, Errno> {
        self.look_up(self.parent(path)?, last(path))
    }

    fn opened(&self, path: &Path) -> Result<Named, Errno> {
        let named = self.named(path)?;
        match named.stat.kind {
            FileType::Regular | FileType::Directory => Ok(named),
            _ => Err(Errno::EINVAL),
        }
    }

    fn file(&self, path: &Path) -> Result<u32, Errno> {
        let named = self.opened(path)?;
        if named.stat.kind == FileType::Directory { Err(Errno::EISDIR) } else { Ok(named.ino) }
    }

    fn make(&self, path: &Path, new: &New<'_>) -> Result<(), Errno> {
        let parent = self.parent(path)?;
        self.make_in(parent, last(path), new)
    }

    fn make_in(&self, directory: u32, name: &str, new: &New<'_>) -> Result<(), Errno> {
        let made = self.volume.make(directory, name.as_bytes(), new).map_err(code)?;
        self.volume.release(made.ino, 1).map_err(code)
    }
}

fn last(path: &Path) -> &'static str {
    NAMES[path[path.len() - 1]]
}

fn code(error: Error) -> Errno {
    match error {
        Error::Refused(errno) => errno,
        other => panic!("{other}"),
    }
}

fn new(kind: FileType, mode: u16) -> New<'static> {
    New { kind, mode, ids: Ids::ROOT, device: (0, 0), target: &[], xattrs: &[] }
}

impl Side for Ours {
    fn apply(&mut self, op: &Op) -> Said {
        match op {
            Op::Create(path, mode) => self.make(path, &new(FileType::Regular, *mode))?,
            Op::Directory(path, mode) => self.make(path, &new(FileType::Directory, *mode))?,
            Op::Link(from, to) => {
                let (source, target) = (self.parent(from)?, self.parent(to)?);
                let source = self.look_up(source, last(from))?;
                let named = self.volume.link(source.ino, target, last(to).as_bytes()).map_err(code)?;
                self.volume.release(named.ino, 1).map_err(code)?;
            }
            Op::Symlink(path, length) => {
                let target = "t".repeat(*length);
                self.make(path, &New { target: target.as_bytes(), ..new(FileType::Symlink, 0o777) })?;
            }
            Op::Device(path, number) => {
                self.make(path, &New { device: (number >> 8, number & 0xFF), ..new(FileType::CharDevice, 0o600) })?;
            }
            Op::Fifo(path) => self.make(path, &new(FileType::Fifo, 0o600))?,
            Op::Unlink(path) => {
                let parent = self.parent(path)?;
                self.volume.remove(parent, last(path).as_bytes(), false).map_err(code)?;
            }
            Op::RemoveDirectory(path) => {
                let parent = self.parent(path)?;
                self.volume.remove(parent, last(path).as_bytes(), true).map_err(code)?;
            }
            Op::Rename(from, to, how) => {
                let how =
                    Renaming { no_replace: *how == 1, exchange: *how == 2, whiteout: *how == 3, ..Renaming::default() };
                let (source, target) = (self.parent(from)?, self.parent(to)?);
                let (from, to) = ((source, last(from).as_bytes()), (target, last(to).as_bytes()));
                self.volume.rename(from, to, how).map_err(code)?;
            }
            Op::Many(path, count) => {
                let directory = self.opened(path)?;
                for number in 0..*count {
                    match self.make_in(directory.ino, &numbered(number), &new(FileType::Regular, 0o600)) {
                        Ok(()) | Err(Errno::EEXIST) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            Op::Fewer(path, count) => {
                let directory = self.opened(path)?;
                for number in 0..*count {
                    match self.volume.remove(directory.ino, numbered(number).as_bytes(), false).map_err(code) {
                        Ok(()) | Err(Errno::ENOENT) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            Op::Write(path, offset, length) => {
                let (ino, data) = (self.file(path)?, content(*offset, *length));
                let mut done = 0;
                while done < data.len() {
                    done += self.volume.write(ino, offset + done as u64, &data[done..], false).map_err(code)?;
                }
            }
            Op::Truncate(path, size) => {
                let ino = self.file(path)?;
                self.volume.truncate(ino, *size, false).map_err(code)?;
            }
            Op::Punch(path, offset, length) => {
                let ino = self.file(path)?;
                self.volume.punch(ino, *offset..offset + length, false).map_err(code)?;
            }
            Op::Mode(path, mode) => {
                let ino = self.opened(path)?.ino;
                self.volume.alter(ino, &Changes { mode: Some(*mode), ..Changes::default() }).map_err(code)?;
            }
            Op::Owner(path, uid, gid) => {
                let named = self.named(path)?;
                let changes = Changes { uid: Some(*uid), gid: Some(*gid), ..Changes::default() };
                self.volume.alter(named.ino, &changes).map_err(code)?;
            }
            Op::SetXattr(path, name, length) => {
                let ino = self.opened(path)?.ino;
                self.volume
                    .set_xattrs(ino, &[attribute(*name).as_bytes()], &content(7, *length), How::Any)
                    .map_err(code)?;
            }
            Op::RemoveXattr(path, name) => {
                let ino = self.opened(path)?.ino;
                self.volume.remove_xattr(ino, attribute(*name).as_bytes()).map_err(code)?;
            }
            Op::List(path) => {
                let (directory, mut count) = (self.opened(path)?, 0);
                self.volume
                    .list(directory.ino, 0, &mut |_| {
                        count += 1;
                        true
                    })
                    .map_err(code)?;
                return Ok(count);
            }
        }
        Ok(0)
    }
}
