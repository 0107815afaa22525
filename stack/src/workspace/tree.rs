//! What the server asks of a workspace image.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use condatainer_formats::ext::{FileType, Stat, Time as DiskTime};
use condatainer_formats::overlayfs::{Meaning, OWN_FILE, may_be_users, meaning};
use condatainer_writer::{Changes as Alter, Error, How, Named, New as Make, Renaming as Rename};
use nix::errno::Errno;

use super::marks::{Left, OPAQUE, OPAQUE_FOR_ROOT};
use super::{Workspace, number};
use crate::layer::{Attributes, Time};
use crate::posix_acl::{ACCESS, DEFAULT};
use crate::serve::tree::{Answer, Changes, Entry, Listed, Moment, New, Renaming, Room, Tree};

/// What a symbolic link leads to is shorter than a page, as everywhere.
const LONGEST_TARGET: usize = 4095;

/// So many inodes are kept for the kernel's overlay: it makes some when it is mounted, and one where something below is removed.
const KEPT_INODES: u64 = 4;

impl Workspace {
    /// The inode of a directory that is looked into, and what is hidden there without the kernel's marks.
    fn directory(&self, directory: u64) -> Answer<(u32, Option<Arc<Left>>)> {
        let ino = number::ino(directory)?;
        Ok((ino, self.answer(self.marks.turn(&self.volume, ino))?))
    }

    /// The inode of a directory in which something gets another name.
    fn directory_to_change(&self, directory: u64) -> Answer<u32> {
        let ino = number::ino(directory)?;
        match self.answer(self.marks.turn_again(&self.volume, ino))? {
            None => Ok(ino),
            Some(_) => Err(Errno::ENOSPC),
        }
    }

    fn is_in_work(&self, directory: u32) -> bool {
        directory == self.work || directory == self.work_of_now.load(Ordering::Relaxed)
    }

    fn shown(&self, ino: u32, stat: &Stat) -> Attributes {
        let time = |time: DiskTime| Time { seconds: time.seconds, nanoseconds: time.nanoseconds };
        let stat = match self.marks.stands_for_whiteout(ino) {
            true => &Stat { kind: FileType::CharDevice, mode: 0, device: (0, 0), ..*stat },
            false => stat,
        };
        // By the time the kernel sees that a file was written under another of its names, also where the disk has whole seconds only.
        let part = if self.has_fine_times { stat.modified.nanoseconds } else { self.numbers.writes(ino) };
        Attributes {
            kind: stat.kind,
            mode: stat.mode,
            ids: self.owners.shown(stat.ids),
            size: stat.size,
            blocks: stat.sectors,
            links: stat.links.into(),
            device: stat.device,
            accessed: time(stat.accessed),
            modified: Time { nanoseconds: part, ..time(stat.modified) },
            changed: time(stat.changed),
        }
    }

    fn under(&self, directory: u32, name: &[u8], named: &Named) -> Entry {
        let node = self.numbers.under((directory, name), named.ino, &named.stat);
        Entry { node, attributes: self.shown(named.ino, &named.stat) }
    }
}

impl Tree for Workspace {
    fn lookup(&self, directory: u64, name: &[u8]) -> Answer<Entry> {
        let (ino, left) = self.directory(directory)?;
        if let Some(left) = left {
            match left.of(name) {
                Some((_, mark)) => {
                    return self.answer(self.volume.take(mark)).map(|named| self.under(ino, name, &named));
                }
                None if left.hidden(name).is_some() => return Err(Errno::ENOENT),
                None => {}
            }
        }
        let named = self.answer(self.volume.lookup(ino, name))?;
        Ok(self.under(ino, name, &named))
    }

    fn entry(&self, directory: u64, listed: &Listed<'_>) -> Answer<Entry> {
        let named = self.answer(self.volume.take(number::ino(listed.node)?))?;
        // The node itself is meant, where the kernel has it by its handle.
        if listed.node == directory {
            return Ok(Entry { node: directory, attributes: self.shown(named.ino, &named.stat) });
        }
        // The kernel lets nobody change a directory's names while it lists them.
        Ok(self.under(number::ino(directory)?, listed.name, &named))
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
        if stat.kind == FileType::Unknown { Err(Errno::ESTALE) } else { Ok(self.shown(number::ino(node)?, &stat)) }
    }

    fn has_set_ids(&self, node: u64) -> Answer<bool> {
        Ok(self.answer(self.volume.stat(number::ino(node)?))?.mode & 0o6000 != 0)
    }

    fn list(&self, directory: u64, from: u64, visit: &mut dyn FnMut(&Listed<'_>) -> bool) -> Answer<()> {
        let (ino, left) = self.directory(directory)?;
        let listed = self.volume.list(ino, from, &mut |listed| {
            let kind = listed.kind.or_else(|| self.volume.stat(listed.ino).ok().map(|stat| stat.kind));
            let mut shown = Listed {
                name: &listed.name,
                node: number::of(listed.ino),
                kind: kind.unwrap_or(FileType::Unknown),
                next: listed.next,
            };
            if let Some(hidden) = left.as_ref().and_then(|left| left.hidden(&listed.name)) {
                (shown.name, shown.kind) = (hidden, FileType::CharDevice);
            }
            visit(&shown)
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
        let ino = number::ino(node)?;
        match name {
            OPAQUE => match self.answer(self.marks.is_opaque(&self.volume, ino))? {
                true => Ok(b"y".to_vec()),
                false => Err(Errno::ENODATA),
            },
            ACCESS | DEFAULT => self.shown_acl(ino, name),
            _ => self.answer(self.volume.xattr(ino, name)),
        }
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
        let parent = self.directory_to_change(directory)?;
        if new.kind == FileType::Symlink && new.target.len() > LONGEST_TARGET {
            return Err(Errno::ENAMETOOLONG);
        }
        if new.kind == FileType::Unknown {
            return Err(Errno::EINVAL);
        }
        let stat = self.answer(self.volume.stat(parent))?;
        let passed = self.passed_on(parent, &stat, new)?;
        let own: Option<(&[u8], &[u8])> = may_be_taken_for_mark(name, new.kind).then_some((OWN_FILE, b"y"));
        let passed_on = passed.xattrs.iter().map(|(name, value)| (*name, value.as_slice()));
        let xattrs: Vec<_> = passed_on.chain(own).collect();
        let make = Make {
            kind: new.kind,
            mode: passed.mode,
            ids: passed.ids,
            device: new.device,
            target: new.target,
            xattrs: &xattrs,
        };
        if !self.is_in_work(parent) && self.room().free_inodes <= KEPT_INODES {
            return Err(Errno::ENOSPC);
        }
        let named = self.with_room(|| self.volume.make(parent, name, &make))?;
        if new.kind == FileType::Directory {
            self.marks.is_new(named.ino);
            if parent == self.work {
                self.work_of_now.store(named.ino, Ordering::Relaxed);
            }
        }
        Ok(self.under(parent, name, &named))
    }

    fn link(&self, node: u64, directory: u64, name: &[u8]) -> Answer<Entry> {
        let (ino, directory) = (number::ino(node)?, self.directory_to_change(directory)?);
        self.keep_own(name, || Ok(ino))?;
        let linked = self.numbers.is_linked(node, (directory, name));
        let named = self.with_room(|| self.volume.link(ino, directory, name));
        let named = named.inspect_err(|_| self.numbers.not_linked(linked))?;
        // For now the kernel wants the file that it has asked with; it will look the name up.
        Ok(Entry { node, attributes: self.shown(ino, &named.stat) })
    }

    fn remove(&self, directory: u64, name: &[u8], directory_wanted: bool) -> Answer<()> {
        let directory = number::ino(directory)?;
        // Also where there is no room for anything: that is how there is some again.
        let left = self.answer(self.marks.turn_again(&self.volume, directory))?;
        let on_disk = left.as_ref().and_then(|left| left.of(name)).map_or(name, |(mark, _)| mark);
        self.with_room(|| self.volume.remove(directory, on_disk, directory_wanted))?;
        self.numbers.is_removed((directory, name));
        Ok(())
    }

    fn rename(&self, from: (u64, &[u8]), to: (u64, &[u8]), how: Renaming) -> Answer<()> {
        let (source, target) = (self.directory_to_change(from.0)?, self.directory_to_change(to.0)?);
        self.keep_own(to.1, || self.ino_of(source, from.1))?;
        if how.exchange {
            self.keep_own(from.1, || self.ino_of(target, to.1))?;
        }
        let Renaming { no_replace, exchange, whiteout } = how;
        let how = Rename { no_replace, exchange, whiteout, over_whiteout: false };
        self.with_room(|| self.volume.rename((source, from.1), (target, to.1), how))?;
        self.numbers.is_renamed((source, from.1), (target, to.1), how.exchange);
        Ok(())
    }

    fn change(&self, node: u64, changes: &Changes) -> Answer<Attributes> {
        let ino = number::ino(node)?;
        let stat = self.answer(self.volume.stat(ino))?;
        if let Some(size) = changes.size {
            self.numbers.is_written(ino);
            self.with_room(|| self.volume.truncate(ino, size, !changes.keeps))?;
            self.numbers.is_written(ino);
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
        self.with_room(|| self.volume.alter(ino, &alter)).map(|stat| self.shown(ino, &stat))
    }

    fn write(&self, file: u64, offset: u64, data: &[u8], strip: bool) -> Answer<usize> {
        let ino = number::ino(file)?;
        self.numbers.is_written(ino);
        let written = self.with_room(|| self.volume.write(ino, offset, data, strip));
        // Who has read the old bytes meanwhile, by another name, is to see another time after this.
        self.numbers.is_written(ino);
        written
    }

    fn allocate(&self, file: u64, offset: u64, length: u64, mode: i32, strip: bool) -> Answer<()> {
        let ino = number::ino(file)?;
        let end = offset.checked_add(length).filter(|end| i64::try_from(*end).is_ok()).ok_or(Errno::EFBIG)?;
        let keep = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
        self.numbers.is_written(ino);
        match mode & !libc::FALLOC_FL_KEEP_SIZE {
            // Blocks behind the end of a file are not ext3's.
            0 if keep && end > self.answer(self.volume.stat(ino))?.size => Err(Errno::EOPNOTSUPP),
            0 => self.with_room(|| self.volume.allocate(ino, offset..end, strip)),
            libc::FALLOC_FL_PUNCH_HOLE if keep => self.answer(self.volume.punch(ino, offset..end, strip)),
            libc::FALLOC_FL_ZERO_RANGE if !keep => {
                self.answer(self.volume.punch(ino, offset..end, strip))?;
                self.with_room(|| self.volume.allocate(ino, offset..end, strip))
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
        let names: &[&[u8]] = if name == OPAQUE { &[OPAQUE, OPAQUE_FOR_ROOT] } else { &[name] };
        self.with_room(|| self.volume.set_xattrs(ino, names, value, how))
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

impl Workspace {
    fn ino_of(&self, directory: u32, name: &[u8]) -> Answer<u32> {
        let named = self.answer(self.volume.lookup(directory, name))?;
        self.answer(self.volume.release(named.ino, 1))?;
        Ok(named.ino)
    }

    /// A file that gets a name by which fuse-overlayfs hides another one stays a file in the next session.
    fn keep_own(&self, name: &[u8], file: impl FnOnce() -> Answer<u32>) -> Answer<()> {
        if !may_be_taken_for_mark(name, FileType::Regular) {
            return Ok(());
        }
        let ino = file()?;
        if !may_be_users(Some(self.answer(self.volume.stat(ino))?.kind)) {
            return Ok(());
        }
        self.with_room(|| self.volume.set_xattr(ino, OWN_FILE, b"y", How::Any))
    }

    fn is_visible(&self, name: &[u8]) -> bool {
        // Lists of access rights are obeyed wherever something is written.
        name != OWN_FILE && (self.owners.show().shows_xattr(name) || name == ACCESS || name == DEFAULT)
    }
}

fn may_be_taken_for_mark(name: &[u8], kind: FileType) -> bool {
    may_be_users(Some(kind)) && meaning(name) != Meaning::Itself
}
