//! A directory of the host as a layer: an unpacked base, or what a container wrote to a directory.
//!
//! Everything is reached from its descriptor, name by name, as the user who has started the server; no link is followed, and what is mounted
//! in it does not show. It may change meanwhile. A file is known by its name and by what it was when somebody asked for it first; what has
//! taken its name since is another file, and reading the one that is gone is `ESTALE`, never the content of the other.

mod names;
mod open;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;

use std::sync::Arc;

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, readlinkat};
use nix::sys::stat::{FileStat, fstat, fstatat, major, minor};
use nix::unistd::{AccessFlags, Whence, faccessat, lseek};
use parking_lot::Mutex;
use rustix::fs::{fgetxattr, fgetxattr_query, flistxattr, flistxattr_query};
use rustix::io::Errno as Absent;

use super::{Attributes, Entry, Key, Layer, Time};
use condatainer_formats::ext::{FileType, Ids, Xattr};
use names::{Identity, Names, ROOT};
use open::{Open, is_mounted};

/// As the kernel calls whoever a user namespace does not know.
const NOBODY: u32 = 65_534;
/// No mapping knows it.
const UNKNOWN: u32 = u32::MAX;

/// How the server, which is in a user namespace, sees what is in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// As root, in none.
    AsItIs,
    /// In one that knows the caller alone, and shows everything as the caller's.
    AsCallers,
    /// In one whose root the caller is.
    AsRoots,
}

/// A directory that was opened.
pub struct DirectoryLayer {
    open: Open,
    names: Mutex<Names>,
    sight: Sight,
}

/// The directory that has something, and its name in there.
type Place = (Arc<File>, Vec<u8>);
/// What was found there; the root has no place.
type Found = (FileStat, Option<Place>);

impl DirectoryLayer {
    /// What is in `directory`.
    #[must_use]
    pub fn new(directory: File, sight: Sight) -> Self {
        Self { open: Open::new(directory), names: Mutex::new(Names::new()), sight }
    }

    /// What is there now.
    fn look(&self, number: u32) -> io::Result<Found> {
        if number == ROOT {
            return Ok((fstat(self.open.directory(ROOT, &self.names)?.as_fd())?, None));
        }
        let (directory, name) = self.names.lock().place(number)?;
        let directory = self.open.directory(directory, &self.names)?;
        let stat = fstatat(directory.as_fd(), name.as_slice(), AtFlags::AT_SYMLINK_NOFOLLOW)?;
        Ok((stat, Some((directory, name))))
    }

    /// As [`DirectoryLayer::look`]; what has taken its name meanwhile is not meant.
    fn meant(&self, key: Key) -> io::Result<Found> {
        let number = number(key)?;
        let found = self.look(number)?;
        if self.names.lock().is(number, identity(&found.0)) { Ok(found) } else { Err(Errno::ESTALE.into()) }
    }

    /// Permission bits that are true where the owner is shown as the caller: what the caller may do with somebody else's file depends on the
    /// group, on lists of rights and on the network's file system. What is written goes elsewhere.
    fn mode(&self, stat: &FileStat, place: Option<&Place>) -> u16 {
        let mode = (stat.st_mode & 0o7777) as u16;
        let (Some((directory, name)), Sight::AsCallers) = (place, self.sight) else { return mode };
        if stat.st_uid == nix::unistd::geteuid().as_raw()
            || !matches!(kind(stat), FileType::Regular | FileType::Directory)
        {
            return mode;
        }
        let may = |what| faccessat(directory.as_fd(), name.as_slice(), what, AtFlags::empty()).is_ok();
        let bit = |what, bit: u16| if may(what) { bit } else { 0 };
        mode & !0o500 | bit(AccessFlags::R_OK, 0o400) | bit(AccessFlags::X_OK, 0o100)
    }

    fn id(&self, id: u32) -> u32 {
        if id == NOBODY && self.sight != Sight::AsItIs { UNKNOWN } else { id }
    }

    /// Something to ask for attributes; `None` where it is of a kind that has none worth telling.
    fn asked(&self, key: Key) -> io::Result<Option<Arc<File>>> {
        let number = number(key)?;
        match kind(&self.meant(key)?.0) {
            FileType::Directory => self.open.listing(number, &self.names).map(|open| Some(open.into())),
            FileType::Regular => self.open.file(number, &self.names).map(Some),
            _ => Ok(None),
        }
    }
}

impl Layer for DirectoryLayer {
    fn root(&self) -> Key {
        Key(ROOT.into())
    }

    fn itself(&self, key: Key) -> io::Result<Key> {
        if key == self.root() {
            return Ok(key);
        }
        let number = number(key)?;
        let (stat, _) = self.look(number)?;
        let is = identity(&stat);
        let newest = self.names.lock().number_of(number, is)?;
        if stat.st_nlink < 2 || kind(&stat) == FileType::Directory {
            return Ok(Key(newest.into()));
        }
        let first = self.names.lock().shown_as(is);
        if let Some(first) = first.filter(|first| self.look(*first).is_ok_and(|(stat, _)| identity(&stat) == is)) {
            return Ok(Key(first.into()));
        }
        self.names.lock().show_as(is, newest);
        Ok(Key(newest.into()))
    }

    fn attributes(&self, key: Key) -> io::Result<Attributes> {
        let (stat, place) = self.meant(key)?;
        let kind = kind(&stat);
        let part = |part: u64| u32::try_from(part).unwrap_or(u32::MAX);
        let is_device = matches!(kind, FileType::CharDevice | FileType::BlockDevice);
        let time = |seconds, nanoseconds: i64| Time { seconds, nanoseconds: u32::try_from(nanoseconds).unwrap_or(0) };
        Ok(Attributes {
            kind,
            mode: self.mode(&stat, place.as_ref()),
            ids: Ids { uid: self.id(stat.st_uid), gid: self.id(stat.st_gid) },
            size: u64::try_from(stat.st_size).unwrap_or(0),
            blocks: u64::try_from(stat.st_blocks).unwrap_or(0),
            links: part(stat.st_nlink),
            device: if is_device { (part(major(stat.st_rdev)), part(minor(stat.st_rdev))) } else { (0, 0) },
            accessed: time(stat.st_atime, stat.st_atime_nsec),
            modified: time(stat.st_mtime, stat.st_mtime_nsec),
            changed: time(stat.st_ctime, stat.st_ctime_nsec),
        })
    }

    fn entries(&self, directory: Key, visit: &mut dyn FnMut(Entry<'_>) -> bool) -> io::Result<()> {
        let above = number(directory)?;
        if kind(&self.meant(directory)?.0) != FileType::Directory {
            return Err(Errno::ENOTDIR.into());
        }
        let listing = match self.open.listing(above, &self.names) {
            Err(error) if is_mounted(&error) => return Ok(()),
            listing => listing?,
        };
        for entry in Dir::from_fd(listing.into())?.iter() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let key = Key(self.names.lock().number(above, name)?.into());
            if !visit(Entry { name, key, kind: entry.file_type().map(of_entry) }) {
                break;
            }
        }
        Ok(())
    }

    fn read(&self, file: Key, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let open = self.open.file(number(file)?, &self.names)?;
        let mut filled = 0;
        while let Some(room) = buf.get_mut(filled..).filter(|room| !room.is_empty()) {
            match open.read_at(room, offset + filled as u64)? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(filled)
    }

    fn target(&self, link: Key) -> io::Result<Vec<u8>> {
        match self.meant(link)?.1 {
            Some((directory, name)) => Ok(readlinkat(directory.as_fd(), name.as_slice()).map(OsStringExt::into_vec)?),
            None => Err(Errno::EINVAL.into()),
        }
    }

    fn xattrs(&self, key: Key) -> io::Result<Vec<Xattr>> {
        let open = match self.asked(key) {
            Ok(Some(open)) => open,
            // What nobody may read tells nothing about itself.
            Ok(None) => return Ok(Vec::new()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied || is_mounted(&error) => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let listed = flistxattr_query(&open).and_then(|length| written(length, |buffer| flistxattr(&open, buffer)));
        let names = listed.or_else(unsupported)?;
        let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        // One that was taken away meanwhile, or is not for us, is none.
        let value = |name: &[u8]| {
            let length = fgetxattr_query(&open, name).ok()?;
            written(length, |buffer| fgetxattr(&open, name, buffer)).ok()
        };
        Ok(names.filter_map(|name| Some(Xattr { name: name.to_vec(), value: value(name)? })).collect())
    }

    fn seek(&self, file: Key, offset: u64, hole: bool) -> io::Result<Option<u64>> {
        let open = self.open.file(number(file)?, &self.names)?;
        let offset = i64::try_from(offset).map_err(|_| Errno::ENXIO)?;
        match lseek(open.as_fd(), offset, if hole { Whence::SeekHole } else { Whence::SeekData }) {
            Ok(place) => Ok(u64::try_from(place).ok()),
            Err(Errno::ENXIO) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    fn is_of_host(&self) -> bool {
        true
    }
}

fn number(key: Key) -> io::Result<u32> {
    u32::try_from(key.0).map_err(|_| Errno::ESTALE.into())
}

fn identity(stat: &FileStat) -> Identity {
    (stat.st_dev, stat.st_ino)
}

fn kind(stat: &FileStat) -> FileType {
    FileType::from_mode((stat.st_mode & 0xFFFF) as u16)
}

/// What a call writes into a buffer of this length. What has grown meanwhile is an error of its own.
fn written(length: usize, call: impl Fn(&mut [u8]) -> Result<usize, Absent>) -> Result<Vec<u8>, Absent> {
    let mut buffer = vec![0; length];
    let written = if length == 0 { 0 } else { call(&mut buffer)? };
    buffer.truncate(written);
    Ok(buffer)
}

/// A file system without attributes has none.
fn unsupported(error: Absent) -> io::Result<Vec<u8>> {
    match error {
        Absent::OPNOTSUPP | Absent::NOSYS => Ok(Vec::new()),
        error => Err(error.into()),
    }
}

fn of_entry(kind: Type) -> FileType {
    match kind {
        Type::Fifo => FileType::Fifo,
        Type::CharacterDevice => FileType::CharDevice,
        Type::Directory => FileType::Directory,
        Type::BlockDevice => FileType::BlockDevice,
        Type::File => FileType::Regular,
        Type::Symlink => FileType::Symlink,
        Type::Socket => FileType::Socket,
    }
}
