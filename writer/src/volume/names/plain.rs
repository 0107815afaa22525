//! Names come and go.

use condatainer_formats::ext::{FileType, Ids, Stat};
use condatainer_formats::overlayfs::is_whiteout;
use nix::errno::Errno;

use super::super::base::{Volume, now};
use super::super::flags::{may_change, may_gain};
use super::super::orphan;
use crate::directory::{self, Found};
use crate::error::{Error, Result};
use crate::inode::{self, Node};
use crate::map;
use crate::store::Handle;
use crate::xattr;

/// So many names a file may have, and so many directories a directory.
pub(crate) const MOST_LINKS: u16 = 65_000;
/// The longest name.
const LONGEST_NAME: usize = 255;
/// What is read of a listing at once: whoever looks at it may ask for something else meanwhile.
const LISTED_AT_ONCE: usize = 128;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    /// Its inode.
    pub ino: u32,
    /// What that says.
    pub stat: Stat,
}

/// One name of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Never `.` or `..`.
    pub name: Vec<u8>,
    /// Its inode.
    pub ino: u32,
    /// What the directory says it is; `None` where it does not say.
    pub kind: Option<FileType>,
    /// Where the listing goes on after it; never 0.
    pub next: u64,
}

/// What is to be made.
#[derive(Debug, Clone, Copy)]
pub struct New<'a> {
    /// What it will be; a regular file is empty.
    pub kind: FileType,
    /// Permission bits, exactly.
    pub mode: u16,
    /// Whose it will be, exactly.
    pub ids: Ids,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Where a symbolic link leads.
    pub target: &'a [u8],
    /// Names and values of attributes that it has from the beginning.
    pub xattrs: &'a [(&'a [u8], &'a [u8])],
}

impl Volume {
    /// What `name` in a directory stands for; it is [in use](Volume::release) then.
    ///
    /// # Errors
    /// No such name (`ENOENT`), not a directory, or it cannot be read.
    pub fn lookup(&self, directory: u32, name: &[u8]) -> Result<Named> {
        self.look(|handle| {
            let directory = directory_of(handle, directory)?;
            let found = directory::find(handle, &directory, name)?.ok_or(Errno::ENOENT)?;
            self.named(handle, found.ino)
        })
    }

    /// Something that a listing has shown; it is in use then.
    ///
    /// # Errors
    /// It has no name any more (`ENOENT`), or cannot be read.
    pub fn take(&self, ino: u32) -> Result<Named> {
        self.look(|handle| self.named(handle, ino))
    }

    /// Calls `visit` with each name of a directory from place `from` on (0 is the beginning), until that returns `false`.
    ///
    /// # Errors
    /// Not a directory, or it cannot be read.
    pub fn list(&self, directory: u32, mut from: u64, visit: &mut dyn FnMut(&Listed) -> bool) -> Result<()> {
        loop {
            let mut names: Vec<Listed> = Vec::with_capacity(LISTED_AT_ONCE);
            self.look(|handle| {
                let directory = directory_of(handle, directory)?;
                directory::list(handle, &directory, from, &mut |entry| {
                    let name = entry.name.to_vec();
                    names.push(Listed { name, ino: entry.ino, kind: entry.kind, next: entry.next });
                    names.len() < LISTED_AT_ONCE
                })
            })?;
            // No program could take it away again.
            if names
                .iter()
                .any(|listed| listed.name.is_empty() || listed.name.iter().any(|byte| matches!(byte, b'/' | 0)))
            {
                return Err(Error::corrupt(format!("the directory of inode {directory} has a name that is none")));
            }
            let Some(last) = names.last() else { return Ok(()) };
            from = last.next;
            let is_end = names.len() < LISTED_AT_ONCE;
            if !names.iter().all(&mut *visit) || is_end {
                return Ok(());
            }
        }
    }

    /// Makes something new; it is in use then.
    ///
    /// # Errors
    /// The name exists, there is no room, …
    pub fn make(&self, directory: u32, name: &[u8], new: &New<'_>) -> Result<Named> {
        self.make_at(directory, name, new, false)
    }

    /// As [`Self::make`], and where a whiteout has the name it goes, in the same change.
    pub(super) fn make_at(&self, directory: u32, name: &[u8], new: &New<'_>, over_whiteout: bool) -> Result<Named> {
        check(name)?;
        let (named, gone) = self.change_with_room(|handle| {
            let mut free = Free::find(handle, directory, name, over_whiteout)?;
            let node = make_node(handle, &mut free.parent, new)?;
            let gone = free.put(handle, name, node.ino, new.kind)?;
            Ok((self.named(handle, node.ino)?, gone))
        })?;
        self.free_unused(gone);
        Ok(named)
    }

    /// Gives a file one name more; it is in use once more then.
    ///
    /// # Errors
    /// The name exists, it is a directory (`EPERM`), it has 65,000 names (`EMLINK`), there is no room, …
    pub fn link(&self, ino: u32, directory: u32, name: &[u8]) -> Result<Named> {
        self.link_at(ino, directory, name, false)
    }

    /// As [`Self::link`], and where a whiteout has the name it goes, in the same change.
    pub(super) fn link_at(&self, ino: u32, directory: u32, name: &[u8], over_whiteout: bool) -> Result<Named> {
        check(name)?;
        let (named, gone) = self.change_with_room(|handle| {
            let free = Free::find(handle, directory, name, over_whiteout)?;
            let mut node = Node::read(handle, ino)?;
            may_change(&node)?;
            let kind = node.inode()?.file_type();
            if kind == FileType::Directory {
                return Err(Errno::EPERM.into());
            }
            match node.links()? {
                0 => return Err(Errno::ENOENT.into()),
                MOST_LINKS.. => return Err(Errno::EMLINK.into()),
                links => node.set_links(links + 1)?,
            }
            node.set_changed(now())?;
            node.write(handle)?;
            let gone = free.put(handle, name, ino, kind)?;
            Ok((self.named(handle, ino)?, gone))
        })?;
        self.free_unused(gone);
        Ok(named)
    }

    /// What has lost its last name goes, unless somebody uses it.
    pub(super) fn free_unused(&self, gone: Option<u32>) {
        if let Some(ino) = gone.filter(|ino| !self.users.has(*ino)) {
            self.free(ino);
        }
    }

    /// Takes a name away: of anything but a directory, or of an empty directory where `directory_wanted`.
    ///
    /// # Errors
    /// No such name, not of that kind, not empty, …
    pub fn remove(&self, directory: u32, name: &[u8], directory_wanted: bool) -> Result<()> {
        let (ino, is_over) = self.change(|handle| {
            let mut parent = directory_of(handle, directory)?;
            let found = directory::find(handle, &parent, name)?.ok_or(Errno::ENOENT)?;
            let mut node = live(handle, found.ino)?;
            may_change(&parent)?;
            may_change(&node)?;
            match (node.inode()?.file_type() == FileType::Directory, directory_wanted) {
                (true, false) => return Err(Errno::EISDIR.into()),
                (false, true) => return Err(Errno::ENOTDIR.into()),
                _ => {}
            }
            if directory_wanted {
                close(handle, &node)?;
                parent.fewer_links()?;
            }
            directory::remove(handle, &parent, &found.place)?;
            names_changed(&mut parent)?;
            parent.write(handle)?;
            let is_gone = one_name_fewer(handle, &mut node)?;
            node.write(handle)?;
            Ok((node.ino, is_gone && !self.users.has(node.ino)))
        })?;
        if is_over {
            self.free(ino);
        }
        Ok(())
    }

    /// `count` fewer users of an inode. Its room is free when it has neither name nor user; if that fails, [`Self::untold`] tells.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn release(&self, ino: u32, count: u64) -> Result<()> {
        // Under the store's lock, as where a name is lost: one of the two is the last to see it.
        let is_over =
            self.look(|handle| Ok(self.users.remove(ino, count) && Node::read(handle, ino)?.links()? == 0))?;
        if is_over {
            self.free(ino);
        }
        Ok(())
    }

    /// What is given of an inode, which is in use from now on.
    pub(super) fn named(&self, handle: &mut Handle<'_>, ino: u32) -> Result<Named> {
        let node = live(handle, ino)?;
        let stat = node.stat(&handle.geometry())?;
        self.users.add(ino);
        Ok(Named { ino, stat })
    }
}

/// A directory that gets a name, which it has not got yet, or a whiteout has.
struct Free {
    parent: Node,
    whiteout: Option<(Found, Node)>,
}

impl Free {
    fn find(handle: &mut Handle<'_>, directory: u32, name: &[u8], over_whiteout: bool) -> Result<Self> {
        let parent = directory_of(handle, directory)?;
        let whiteout = match directory::find(handle, &parent, name)? {
            None => None,
            Some(found) => {
                let node = live(handle, found.ino)?;
                if !over_whiteout || !is_a_whiteout(handle, &node)? {
                    return Err(Errno::EEXIST.into());
                }
                Some((found, node))
            }
        };
        may_gain(&parent)?;
        Ok(Self { parent, whiteout })
    }

    /// The name stands for an inode. Returns what stood there, if it has no name any more.
    fn put(mut self, handle: &mut Handle<'_>, name: &[u8], ino: u32, kind: FileType) -> Result<Option<u32>> {
        let mut gone = None;
        match self.whiteout {
            None => directory::insert(handle, &mut self.parent, name, ino, kind)?,
            Some((found, mut node)) => {
                directory::replace(handle, &found.place, ino, kind)?;
                let is_gone = one_name_fewer(handle, &mut node)?;
                node.write(handle)?;
                gone = is_gone.then_some(node.ino);
            }
        }
        names_changed(&mut self.parent)?;
        self.parent.write(handle)?;
        Ok(gone)
    }
}

/// Whether something is what the kernel's OverlayFS leaves where something was.
pub(super) fn is_a_whiteout(handle: &mut Handle<'_>, node: &Node) -> Result<bool> {
    let stat = node.stat(&handle.geometry())?;
    Ok(is_whiteout(stat.kind, stat.device))
}

/// An inode of a directory that takes names.
pub(super) fn directory_of(handle: &mut Handle<'_>, ino: u32) -> Result<Node> {
    let node = Node::read(handle, ino)?;
    match (node.inode()?.file_type(), node.links()?) {
        (FileType::Directory, 0) => Err(Errno::ENOENT.into()),
        (FileType::Directory, _) => Ok(node),
        _ => Err(Errno::ENOTDIR.into()),
    }
}

/// An inode that a name leads to.
pub(super) fn live(handle: &mut Handle<'_>, ino: u32) -> Result<Node> {
    let geometry = handle.geometry();
    if ino < geometry.sb.first_ino && ino != condatainer_formats::ext::raw::ROOT_INO {
        return Err(Error::corrupt(format!("a name leads to the reserved inode {ino}")));
    }
    let node = Node::read(handle, ino)?;
    if node.inode()?.is_live() { Ok(node) } else { Err(Errno::ENOENT.into()) }
}

/// A new inode in its place, with what belongs to its kind.
pub(super) fn make_node(handle: &mut Handle<'_>, parent: &mut Node, new: &New<'_>) -> Result<Node> {
    let is_directory = new.kind == FileType::Directory;
    if is_directory && parent.links()? >= MOST_LINKS {
        return Err(Errno::EMLINK.into());
    }
    let (time, mode) = (now(), new.kind.mode() | new.mode & 0o7777);
    let new_inode = inode::New { mode, ids: new.ids, time };
    let mut node = inode::make(handle, parent, new_inode)?;
    match new.kind {
        FileType::Directory => {
            node.set_links(2)?;
            directory::make_empty(handle, &mut node, parent.ino)?;
            parent.more_links()?;
        }
        FileType::Symlink => map::set_target(handle, &mut node, new.target)?,
        FileType::CharDevice | FileType::BlockDevice => node.inode_mut()?.set_device(new.device),
        _ => {}
    }
    for (name, value) in new.xattrs {
        xattr::set(handle, &mut node, name, value, xattr::How::Any)?;
    }
    node.write(handle)?;
    Ok(node)
}

/// A directory that is empty takes no names any more.
pub(super) fn close(handle: &mut Handle<'_>, node: &Node) -> Result<()> {
    if directory::is_empty(handle, node)? { Ok(()) } else { Err(Errno::ENOTEMPTY.into()) }
}

/// An inode has lost a name, a directory its only one; returns whether it has none any more. The node is not written.
pub(super) fn one_name_fewer(handle: &mut Handle<'_>, node: &mut Node) -> Result<bool> {
    let is_directory = node.inode()?.file_type() == FileType::Directory;
    let links = if is_directory { 0 } else { node.links()?.saturating_sub(1) };
    node.set_links(links)?;
    node.set_changed(now())?;
    if links == 0 {
        orphan::add(handle, node)?;
    }
    Ok(links == 0)
}

/// A directory has other names than before.
pub(super) fn names_changed(directory: &mut Node) -> Result<()> {
    directory.set_modified(now())
}

pub(super) fn check(name: &[u8]) -> Result<()> {
    match name {
        b"" | b"." | b".." => Err(Errno::EINVAL.into()),
        _ if name.len() > LONGEST_NAME => Err(Errno::ENAMETOOLONG.into()),
        _ if name.contains(&b'/') || name.contains(&0) => Err(Errno::EINVAL.into()),
        _ => Ok(()),
    }
}
