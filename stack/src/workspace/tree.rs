//! What is asked of a workspace image; its names are changed by `above`.

use std::sync::Arc;

use condatainer_formats::ext::{FileType, Stat, Time as DiskTime};
use condatainer_formats::overlayfs::{Meaning, OWN_FILE, may_be_users, meaning};
use condatainer_writer::{Changes as Alter, Error, How, Named, New as Make};
use nix::errno::Errno;

use super::marks::{Left, OPAQUE, OPAQUE_FOR_ROOT};
use super::{Workspace, number};
use crate::layer::{Attributes, Time};
use crate::posix_acl::{ACCESS, DEFAULT};
use crate::serve::tree::{Answer, Changes, Entry, Listed, Moment, New, Room, Tree};

/// What a symbolic link leads to is shorter than a page, as everywhere.
const LONGEST_TARGET: usize = 4095;

/// So many inodes are kept for what hides a name, and for the directories that those are in: where nothing more can be made, something can
/// still be removed.
const KEPT_INODES: u64 = 8;

impl Workspace {
    /// The inode of a directory that is looked into, and what is hidden there without the kernel's marks.
    fn directory(&self, directory: u64) -> Answer<(u32, Option<Arc<Left>>)> {
        let ino = number::ino(directory)?;
        Ok((ino, self.answer(self.marks.turn(&self.volume, ino))?))
    }

    /// The inode of a directory in which something gets another name.
    pub(super) fn directory_to_change(&self, directory: u64) -> Answer<u32> {
        let ino = number::ino(directory)?;
        match self.answer(self.marks.turn_again(&self.volume, ino))? {
            None => Ok(ino),
            Some(_) => Err(Errno::ENOSPC),
        }
    }

    pub(super) fn shown(&self, ino: u32, stat: &Stat) -> Attributes {
        let time = |time: DiskTime| Time { seconds: time.seconds, nanoseconds: time.nanoseconds };
        let stat = match self.marks.stands_for_whiteout(ino) {
            true => &Stat { kind: FileType::CharDevice, mode: 0, device: (0, 0), ..*stat },
            false => stat,
        };
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

    pub(super) fn entry_of(&self, named: &Named) -> Entry {
        Entry { node: number::of(named.ino), attributes: self.shown(named.ino, &named.stat) }
    }
}

impl Tree for Workspace {
    fn lookup(&self, directory: u64, name: &[u8]) -> Answer<Entry> {
        let (ino, left) = self.directory(directory)?;
        if let Some(left) = left {
            match left.of(name) {
                Some((_, mark)) => {
                    return self.answer(self.volume.take(mark)).map(|named| self.entry_of(&named));
                }
                None if left.hidden(name).is_some() => return Err(Errno::ENOENT),
                None => {}
            }
        }
        let named = self.answer(self.volume.lookup(ino, name))?;
        Ok(self.entry_of(&named))
    }

    fn forget(&self, node: u64, count: u64) {
        if let Ok(ino) = number::ino(node) {
            // What cannot be freed now is freed when the image is opened next.
            let _ = self.answer(self.volume.release(ino, count));
        }
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
            free_inodes: u64::from(room.free_inodes).saturating_sub(KEPT_INODES),
        }
    }

    fn remove(&self, directory: u64, name: &[u8], directory_wanted: bool) -> Answer<()> {
        let directory = number::ino(directory)?;
        // Also where there is no room for anything: that is how there is some again.
        let left = self.answer(self.marks.turn_again(&self.volume, directory))?;
        let on_disk = left.as_ref().and_then(|left| left.of(name)).map_or(name, |(mark, _)| mark);
        self.with_room(|| self.volume.remove(directory, on_disk, directory_wanted))
    }

    fn change(&self, node: u64, changes: &Changes) -> Answer<Attributes> {
        let ino = number::ino(node)?;
        let stat = self.answer(self.volume.stat(ino))?;
        if let Some(size) = changes.size {
            self.with_room(|| self.volume.truncate(ino, size, !changes.keeps))?;
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
        self.with_room(|| self.volume.write(ino, offset, data, strip))
    }

    fn allocate(&self, file: u64, offset: u64, length: u64, mode: i32, strip: bool) -> Answer<()> {
        let ino = number::ino(file)?;
        let end = offset.checked_add(length).filter(|end| i64::try_from(*end).is_ok()).ok_or(Errno::EFBIG)?;
        let keep = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
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
    /// What `make` makes of something new in a directory, with what the directory passes on to it and `more` attributes.
    pub(super) fn make_in(
        &self,
        parent: u32,
        name: &[u8],
        new: &New<'_>,
        more: &[(&[u8], &[u8])],
        make: impl Fn(&Make<'_>) -> Result<Named, Error>,
    ) -> Answer<Named> {
        if new.kind == FileType::Symlink && new.target.len() > LONGEST_TARGET {
            return Err(Errno::ENAMETOOLONG);
        }
        // No kernel asks for that.
        if new.kind == FileType::Unknown || new.kind == FileType::Symlink && new.target.is_empty() {
            return Err(Errno::EINVAL);
        }
        self.keep_inodes()?;
        let stat = self.answer(self.volume.stat(parent))?;
        let passed = self.passed_on(parent, &stat, new)?;
        let own: Option<(&[u8], &[u8])> = may_be_taken_for_mark(name, new.kind).then_some((OWN_FILE, b"y"));
        let passed_on = passed.xattrs.iter().map(|(name, value)| (*name, value.as_slice()));
        let xattrs: Vec<_> = passed_on.chain(own).chain(more.iter().copied()).collect();
        let (kind, mode, ids) = (new.kind, passed.mode, passed.ids);
        let new = Make { kind, mode, ids, device: new.device, target: new.target, xattrs: &xattrs };
        let named = self.with_room(|| make(&new))?;
        if kind == FileType::Directory {
            self.marks.is_new(named.ino);
        }
        Ok(named)
    }

    /// Refuses the last ones.
    pub(super) fn keep_inodes(&self) -> Answer<()> {
        if self.room().free_inodes == 0 { Err(Errno::ENOSPC) } else { Ok(()) }
    }

    pub(super) fn ino_of(&self, directory: u32, name: &[u8]) -> Answer<u32> {
        let named = self.answer(self.volume.lookup(directory, name))?;
        self.answer(self.volume.release(named.ino, 1))?;
        Ok(named.ino)
    }

    /// A file that gets a name by which fuse-overlayfs hides another one stays a file in the next session.
    pub(super) fn keep_own(&self, name: &[u8], file: impl FnOnce() -> Answer<u32>) -> Answer<()> {
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

pub(super) fn may_be_taken_for_mark(name: &[u8], kind: FileType) -> bool {
    may_be_users(Some(kind)) && meaning(name) != Meaning::Itself
}
