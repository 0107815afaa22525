//! What the server asks of a workspace image.

use std::io;
use std::thread::sleep;
use std::time::Duration;

use condatainer_formats::ext::{FileType, Ids, Stat, Time as DiskTime};
use condatainer_writer::{Changes as Alter, Error, How, Named, New as Make, Renaming as Rename, Result};
use nix::errno::Errno;

use super::marks::{OPAQUE, OPAQUE_FOR_ROOT};
use super::{Workspace, number};
use crate::layer::{Attributes, Time};
use crate::posix_acl::{ACCESS, Acl, DEFAULT};
use crate::serve::tree::{Answer, Changes, Entry, Listed, Moment, New, Renaming, Room, Tree};

/// Nobody answers a FORGET, so a program that has just removed a file may write again before another thread has freed its room.
const FORGETTING: [Duration; 3] = [Duration::from_millis(1), Duration::from_millis(4), Duration::from_millis(15)];
/// What a symbolic link leads to is shorter than a page, as everywhere.
const LONGEST_TARGET: usize = 4095;

impl Workspace {
    fn answer<T>(&self, result: Result<T>) -> Answer<T> {
        result.map_err(|error| match error {
            Error::Refused(errno) => errno,
            error => {
                let errno = error.errno();
                self.trouble.told(io::Error::other(error.to_string()));
                errno
            }
        })
    }

    /// Tries what needs room, and again where there is none.
    fn with_room<T>(&self, attempt: impl Fn() -> Result<T>) -> Answer<T> {
        let mut result = attempt();
        for pause in FORGETTING {
            if !matches!(&result, Err(Error::Refused(Errno::ENOSPC))) {
                break;
            }
            sleep(pause);
            result = attempt();
        }
        self.answer(result)
    }

    /// The inode of a directory that is looked into.
    fn directory(&self, directory: u64) -> Answer<u32> {
        let ino = number::ino(directory)?;
        self.answer(self.marks.turn(&self.volume, ino))?;
        Ok(ino)
    }

    fn shown(&self, stat: &Stat) -> Attributes {
        let time = |time: DiskTime| Time { seconds: time.seconds, nanoseconds: time.nanoseconds };
        Attributes {
            kind: stat.kind,
            mode: stat.mode,
            ids: self.owners.shown(stat.ids),
            size: stat.size,
            blocks: stat.sectors,
            links: stat.links.into(),
            device: stat.device,
            accessed: time(stat.accessed),
            modified: time(stat.modified),
            changed: time(stat.changed),
        }
    }

    fn entry(&self, directory: u32, name: &[u8], named: &Named) -> Entry {
        let node = self.numbers.under((directory, name), named.ino, &named.stat);
        Entry { node, attributes: self.shown(&named.stat) }
    }

    fn acl(&self, ino: u32, name: &[u8]) -> Option<Acl> {
        Acl::parse(&self.volume.xattr(ino, name).ok()?).ok()
    }

    fn set_acl(&self, ino: u32, name: &[u8], value: &[u8], how: How) -> Answer<()> {
        let acl = Acl::parse(value)?;
        let stat = self.answer(self.volume.stat(ino))?;
        if name == DEFAULT {
            if stat.kind != FileType::Directory {
                return Err(Errno::EACCES);
            }
            return self.with_room(|| self.volume.set_xattr(ino, name, value, how));
        }
        let mode = stat.mode & !0o777 | acl.mode();
        let xattr = Some((name, (!acl.is_plain()).then_some(value)));
        self.with_room(|| self.volume.alter(ino, &Alter { mode: Some(mode), xattr, ..Alter::default() })).map(drop)
    }
}

impl Tree for Workspace {
    fn lookup(&self, directory: u64, name: &[u8]) -> Answer<Entry> {
        let ino = self.directory(directory)?;
        let named = self.answer(self.volume.lookup(ino, name))?;
        Ok(self.entry(ino, name, &named))
    }

    fn forget(&self, node: u64, count: u64) {
        if let Ok(ino) = number::ino(node) {
            // What cannot be freed now is freed when the image is opened next.
            let _ = self.answer(self.volume.release(ino, count));
            self.numbers.forget(ino, || self.volume.is_used(ino));
        }
    }

    fn shared(&self, node: u64) -> Option<u64> {
        let ino = number::ino(node).ok()?;
        self.numbers.has_several(ino).then(|| number::of(ino))
    }

    fn attributes(&self, node: u64) -> Answer<Attributes> {
        let stat = self.answer(self.volume.stat(number::ino(node)?))?;
        if stat.kind == FileType::Unknown { Err(Errno::ESTALE) } else { Ok(self.shown(&stat)) }
    }

    fn list(&self, directory: u64, from: u64, visit: &mut dyn FnMut(&Listed<'_>) -> bool) -> Answer<()> {
        let ino = self.directory(directory)?;
        let listed = self.volume.list(ino, from, &mut |listed| {
            let kind = listed.kind.or_else(|| self.volume.stat(listed.ino).ok().map(|stat| stat.kind));
            let kind = kind.unwrap_or(FileType::Unknown);
            visit(&Listed { name: &listed.name, node: number::of(listed.ino), kind, next: listed.next })
        });
        self.answer(listed)
    }

    fn read(&self, file: u64, offset: u64, buf: &mut [u8]) -> Answer<usize> {
        self.answer(self.volume.read(number::ino(file)?, offset, buf))
    }

    fn seek(&self, file: u64, offset: u64, hole: bool) -> Answer<u64> {
        self.answer(self.volume.seek(number::ino(file)?, offset, hole))
    }

    fn target(&self, link: u64) -> Answer<Vec<u8>> {
        self.answer(self.volume.target(number::ino(link)?))
    }

    fn xattr(&self, node: u64, name: &[u8]) -> Answer<Vec<u8>> {
        if !self.is_visible(name) {
            return Err(Errno::ENODATA);
        }
        self.answer(self.volume.xattr(number::ino(node)?, name))
    }

    fn xattrs(&self, node: u64) -> Answer<Vec<u8>> {
        let names = self.answer(self.volume.xattrs(number::ino(node)?))?;
        let visible = names.into_iter().filter(|name| self.is_visible(name));
        Ok(visible.flat_map(|name| name.into_iter().chain([0])).collect())
    }

    fn room(&self) -> Room {
        let Ok(room) = self.volume.room() else { return Room::default() };
        Room {
            block: room.block_size,
            blocks: room.blocks,
            free: room.free,
            inodes: room.inodes.into(),
            free_inodes: room.free_inodes.into(),
        }
    }

    fn make(&self, directory: u64, name: &[u8], new: &New<'_>) -> Answer<Entry> {
        let parent = self.directory(directory)?;
        if new.kind == FileType::Symlink && new.target.len() > LONGEST_TARGET {
            return Err(Errno::ENAMETOOLONG);
        }
        if new.kind == FileType::Unknown {
            return Err(Errno::EINVAL);
        }
        let stat = self.answer(self.volume.stat(parent))?;
        let passed = self.passed_on(parent, &stat, new)?;
        let xattrs: Vec<_> = passed.xattrs.iter().map(|(name, value)| (*name, value.as_slice())).collect();
        let make = Make {
            kind: new.kind,
            mode: passed.mode,
            ids: passed.ids,
            device: new.device,
            target: new.target,
            xattrs: &xattrs,
        };
        let named = self.with_room(|| self.volume.make(parent, name, &make))?;
        if new.kind == FileType::Directory {
            self.marks.is_new(named.ino);
        }
        Ok(self.entry(parent, name, &named))
    }

    fn link(&self, node: u64, directory: u64, name: &[u8]) -> Answer<Entry> {
        let (ino, directory) = (number::ino(node)?, self.directory(directory)?);
        let linked = self.numbers.is_linked(node, (directory, name));
        let named = self.with_room(|| self.volume.link(ino, directory, name));
        let named = named.inspect_err(|_| self.numbers.not_linked(linked))?;
        // For now the kernel wants the file that it has asked with; it will look the name up.
        Ok(Entry { node, attributes: self.shown(&named.stat) })
    }

    fn remove(&self, directory: u64, name: &[u8], directory_wanted: bool) -> Answer<()> {
        let directory = self.directory(directory)?;
        self.with_room(|| self.volume.remove(directory, name, directory_wanted))?;
        self.numbers.is_removed((directory, name));
        Ok(())
    }

    fn rename(&self, from: (u64, &[u8]), to: (u64, &[u8]), how: Renaming) -> Answer<()> {
        let (source, target) = (self.directory(from.0)?, self.directory(to.0)?);
        let how = Rename { no_replace: how.no_replace, exchange: how.exchange, whiteout: how.whiteout };
        self.with_room(|| self.volume.rename((source, from.1), (target, to.1), how))?;
        self.numbers.is_renamed((source, from.1), (target, to.1), how.exchange);
        Ok(())
    }

    fn change(&self, node: u64, changes: &Changes) -> Answer<Attributes> {
        let ino = number::ino(node)?;
        let stat = self.answer(self.volume.stat(ino))?;
        if let Some(size) = changes.size {
            self.with_room(|| self.volume.truncate(ino, size, true))?;
        }
        let (uid, gid) = self.owners.given(stat.ids, changes.uid, changes.gid);
        let gets_owner = changes.uid.is_some() || changes.gid.is_some();
        let acl = changes.mode.and_then(|mode| {
            let mut acl = self.acl(ino, ACCESS)?;
            acl.set_mode(mode);
            Some(acl.value())
        });
        let at = |moment: Moment| match moment {
            Moment::Now => condatainer_writer::now(),
            Moment::At(time) => DiskTime { seconds: time.seconds, nanoseconds: time.nanoseconds },
        };
        let alter = Alter {
            mode: changes.mode.map(|mode| mode & 0o7777),
            uid,
            gid,
            accessed: changes.accessed.map(at),
            modified: changes.modified.map(at),
            changed: changes.changed.map(|time| at(Moment::At(time))),
            strip: gets_owner && stat.kind != FileType::Directory && changes.mode.is_none(),
            xattr: acl.as_ref().map(|acl| (ACCESS, Some(acl.as_slice()))),
        };
        self.with_room(|| self.volume.alter(ino, &alter)).map(|stat| self.shown(&stat))
    }

    fn write(&self, file: u64, offset: u64, data: &[u8], strip: bool) -> Answer<usize> {
        let ino = number::ino(file)?;
        self.with_room(|| self.volume.write(ino, offset, data, strip))
    }

    fn allocate(&self, file: u64, offset: u64, length: u64, mode: i32) -> Answer<()> {
        let ino = number::ino(file)?;
        let end = offset.checked_add(length).filter(|end| i64::try_from(*end).is_ok()).ok_or(Errno::EFBIG)?;
        let keep = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
        match mode & !libc::FALLOC_FL_KEEP_SIZE {
            // Blocks behind the end of a file are not ext3's.
            0 if keep && end > self.answer(self.volume.stat(ino))?.size => Err(Errno::EOPNOTSUPP),
            0 => self.with_room(|| self.volume.allocate(ino, offset..end, true)),
            libc::FALLOC_FL_PUNCH_HOLE if keep => self.answer(self.volume.punch(ino, offset..end, true)),
            libc::FALLOC_FL_ZERO_RANGE if !keep => {
                self.answer(self.volume.punch(ino, offset..end, true))?;
                self.with_room(|| self.volume.allocate(ino, offset..end, true))
            }
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    fn set_xattr(&self, node: u64, name: &[u8], value: &[u8], flags: i32) -> Answer<()> {
        let ino = number::ino(node)?;
        let how = match (flags & libc::XATTR_CREATE != 0, flags & libc::XATTR_REPLACE != 0) {
            (false, false) => How::Any,
            (true, false) => How::Create,
            (false, true) => How::Replace,
            (true, true) => return Err(Errno::EINVAL),
        };
        match name {
            ACCESS | DEFAULT => return self.set_acl(ino, name, value, how),
            _ if name.starts_with(b"user.") || name.starts_with(b"security.") => {}
            _ => return Err(Errno::EOPNOTSUPP),
        }
        self.with_room(|| self.volume.set_xattr(ino, name, value, how))?;
        // Root's overlay, which SingularityCE mounts, reads another attribute.
        if name == OPAQUE {
            self.with_room(|| self.volume.set_xattr(ino, OPAQUE_FOR_ROOT, value, How::Any))
        } else {
            Ok(())
        }
    }

    fn remove_xattr(&self, node: u64, name: &[u8]) -> Answer<()> {
        let ino = number::ino(node)?;
        if name == OPAQUE {
            let _ = self.volume.remove_xattr(ino, OPAQUE_FOR_ROOT);
        }
        match self.volume.remove_xattr(ino, name) {
            // Taking a list away that is not there is no error, as everywhere.
            Err(Error::Refused(Errno::ENODATA)) if name == ACCESS || name == DEFAULT => Ok(()),
            result => self.answer(result),
        }
    }

    fn sync(&self, node: u64, only_data: bool) -> Answer<()> {
        self.answer(self.volume.sync(number::ino(node)?, only_data))
    }
}

/// What something new gets besides what was asked for.
struct Passed {
    mode: u16,
    ids: Ids,
    xattrs: Vec<(&'static [u8], Vec<u8>)>,
}

impl Workspace {
    /// What a directory passes on: the group and the bit, where it is set-group-ID, and a default access control list.
    fn passed_on(&self, directory: u32, parent: &Stat, new: &New<'_>) -> Answer<Passed> {
        let (mut mode, mut ids) = (new.mode & 0o7777, self.owners.on_disk(new.ids));
        let mut xattrs = Vec::new();
        match self.acl(directory, DEFAULT).filter(|_| new.kind != FileType::Symlink) {
            None => mode &= !new.umask,
            Some(default) => {
                if new.kind == FileType::Directory {
                    xattrs.push((DEFAULT, default.clone().value()));
                }
                let (list, result) = default.inherited(mode);
                mode = result;
                if !list.is_plain() {
                    xattrs.push((ACCESS, list.value()));
                }
            }
        }
        if parent.mode & 0o2000 != 0 {
            ids.gid = parent.ids.gid;
            if new.kind == FileType::Directory {
                mode |= 0o2000;
            }
        }
        Ok(Passed { mode, ids, xattrs })
    }

    fn is_visible(&self, name: &[u8]) -> bool {
        // Lists of access rights are obeyed wherever something is written.
        self.owners.show().shows_xattr(name) || name == ACCESS || name == DEFAULT
    }
}
