//! A directory of the host as a layer: an unpacked base, or what a container wrote to a directory.
//!
//! Everything is reached from its descriptor, name by name, as the user who has started the server; no link is followed, and what is mounted
//! in it does not show. It may change meanwhile. A file is known by its names and by what it was when somebody asked for it first; what has
//! taken its name since is another file. The one that is gone can be read by whoever has it open; for others it is `ESTALE`, never the
//! content of the other.

mod names;
mod open;
mod stat;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;

use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, readlinkat};
use nix::unistd::{AccessFlags, Whence, faccessat, lseek};
use parking_lot::Mutex;
use rustix::fs::{Dir, Statx, StatxTimestamp, fgetxattr, fgetxattr_query, flistxattr, flistxattr_query};
use rustix::io::Errno as Absent;

use super::{Attributes, Entry, Key, Layer, Time};
use condatainer_formats::ext::{FileType, Ids, Xattr};
use names::{Names, ROOT};
use open::{Open, is_mounted};
use stat::{identity, kind};

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
/// What was found there; the root has no place, and neither has what is open and has no name any more.
type Found = (Statx, Option<Place>);

impl DirectoryLayer {
    /// What is in `directory`.
    #[must_use]
    pub fn new(directory: File, sight: Sight) -> Self {
        Self { open: Open::new(directory), names: Mutex::new(Names::new()), sight }
    }

    /// What is there now.
    fn look(&self, number: u32) -> io::Result<Found> {
        if number == ROOT {
            return Ok((stat::of_file(&*self.open.directory(ROOT, &self.names)?)?, None));
        }
        let (directory, name) = self.names.lock().place(number)?;
        let directory = self.open.directory(directory, &self.names)?;
        Ok((stat::of_name(&directory, &name)?, Some((directory, name))))
    }

    /// As [`DirectoryLayer::look`]; what has taken its name meanwhile is not meant.
    fn meant(&self, key: Key) -> io::Result<Found> {
        let number = number(key)?;
        let found = self.under_any_name(number, |name| {
            let found = self.look(name)?;
            if self.names.lock().is(number, identity(&found.0)) { Ok(found) } else { Err(Errno::ESTALE.into()) }
        });
        match self.open.at_hand(number) {
            Some(open) if found.is_err() => Ok((stat::of_file(&open)?, None)),
            _ => found,
        }
    }

    fn file(&self, key: Key) -> io::Result<Arc<File>> {
        let number = number(key)?;
        self.under_any_name(number, |name| self.open.file(number, name, &self.names))
    }

    /// What `ask` gets under the name that a number stands for. Where that is another file's by now, or nobody's, under other names of the file.
    fn under_any_name<T>(&self, number: u32, ask: impl Fn(u32) -> io::Result<T>) -> io::Result<T> {
        match ask(number) {
            Err(error) if is_gone(&error) => {
                let others = self.names.lock().others(number);
                others.into_iter().find_map(|name| ask(name).ok()).ok_or_else(|| Errno::ESTALE.into())
            }
            answer => answer,
        }
    }

    /// Permission bits that are true where the owner is shown as the caller: what the caller may do with somebody else's file depends on the
    /// group, on lists of rights and on the network's file system. What is written goes elsewhere.
    fn mode(&self, stat: &Statx, place: Option<&Place>) -> u16 {
        let mode = stat.stx_mode & 0o7777;
        let (Some((directory, name)), Sight::AsCallers) = (place, self.sight) else { return mode };
        if stat.stx_uid == nix::unistd::geteuid().as_raw()
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
        if let Some(open) = self.open.at_hand(number) {
            return Ok(Some(open));
        }
        match kind(&self.meant(key)?.0) {
            FileType::Directory => self.open.listing(number, &self.names).map(|open| Some(open.into())),
            FileType::Regular => self.file(key).map(Some),
            _ => Ok(None),
        }
    }
}

impl Layer for DirectoryLayer {
    fn root(&self) -> Key {
        Key(ROOT.into())
    }

    fn inode(&self, key: Key) -> io::Result<Key> {
        if key == self.root() {
            return Ok(key);
        }
        let number = number(key)?;
        let (stat, _) = self.look(number)?;
        let is = identity(&stat);
        let several = stat.stx_nlink > 1 && kind(&stat) != FileType::Directory;
        let mut names = self.names.lock();
        let newest = names.number_of(number, is)?;
        Ok(Key(names.shown_as(is, newest, several).into()))
    }

    fn attributes(&self, key: Key) -> io::Result<Attributes> {
        let (stat, place) = self.meant(key)?;
        let kind = kind(&stat);
        let is_device = matches!(kind, FileType::CharDevice | FileType::BlockDevice);
        let time = |of: StatxTimestamp| Time { seconds: of.tv_sec, nanoseconds: of.tv_nsec };
        Ok(Attributes {
            kind,
            mode: self.mode(&stat, place.as_ref()),
            ids: Ids { uid: self.id(stat.stx_uid), gid: self.id(stat.stx_gid) },
            size: stat.stx_size,
            blocks: stat.stx_blocks,
            links: stat.stx_nlink,
            device: if is_device { (stat.stx_rdev_major, stat.stx_rdev_minor) } else { (0, 0) },
            accessed: time(stat.stx_atime),
            modified: time(stat.stx_mtime),
            changed: time(stat.stx_ctime),
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
        for entry in Dir::new(listing)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let key = Key(self.names.lock().number(above, name)?.into());
            let kind = FileType::listed(entry.file_type().as_raw_mode());
            if !visit(Entry { name, key, kind }) {
                break;
            }
        }
        Ok(())
    }

    fn read(&self, file: Key, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let open = self.file(file)?;
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
        let open = self.file(file)?;
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

    fn find(&self, directory: Key, name: &[u8]) -> io::Result<Option<Key>> {
        let above = number(directory)?;
        match stat::of_name(&*self.open.directory(above, &self.names)?, name) {
            Ok(_) => Ok(Some(Key(self.names.lock().number(above, name)?.into()))),
            Err(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn hold(&self, file: Key) -> io::Result<()> {
        self.open.hold(number(file)?, self.file(file)?);
        Ok(())
    }

    fn release(&self, file: Key) {
        let _ = number(file).map(|number| self.open.release(number));
    }
}

fn number(key: Key) -> io::Result<u32> {
    u32::try_from(key.0).map_err(|_| Errno::ESTALE.into())
}

/// Whether a name does not stand for what it did.
fn is_gone(error: &io::Error) -> bool {
    let gone = [Errno::ENOENT, Errno::ENOTDIR, Errno::ELOOP, Errno::ESTALE];
    error.raw_os_error().is_some_and(|code| gone.contains(&Errno::from_raw(code)))
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
