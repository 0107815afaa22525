//! Names come and go.

use std::sync::Arc;

use condatainer_formats::ext::{FileType, Ids};
use nix::errno::Errno;
use parking_lot::RwLock;

use super::directory::Directory;
use super::fs::Scratch;
use super::node::{Birth, Body, Named, Node};
use super::xattrs::Xattrs;
use crate::posix_acl::{ACCESS, DEFAULT};
use crate::serve::tree::{Answer, Entry, New};

/// What a symbolic link leads to is shorter than a page, as everywhere.
const LONGEST_TARGET: usize = 4095;

impl Scratch {
    pub(super) fn look_up(&self, directory: u64, name: &[u8]) -> Answer<Entry> {
        let directory = self.node(directory)?;
        let _structure = self.structure.read();
        let names = directory.directory()?.read();
        names.get(&self.hasher, name).ok_or(Errno::ENOENT)?.count()
    }

    pub(super) fn make_node(&self, directory: u64, name: &[u8], new: &New<'_>) -> Answer<Entry> {
        let directory = self.node(directory)?;
        let _structure = self.structure.read();
        let mut names = directory.directory()?.write();
        let place = names.place(&self.hasher, name)?;
        let node = self.nodes.add(birth(&directory, new)?);
        names.put(place, name, Named::first(node.clone()));
        directory.names_changed(i32::from(node.is_directory()));
        node.count()
    }

    pub(super) fn link_node(&self, number: u64, directory: u64, name: &[u8]) -> Answer<Entry> {
        let (node, directory) = (self.node(number)?, self.node(directory)?);
        if node.is_directory() {
            return Err(Errno::EPERM);
        }
        let _structure = self.structure.read();
        let mut names = directory.directory()?.write();
        let place = names.place(&self.hasher, name)?;
        node.link()?;
        names.put(place, name, self.nodes.name(node.clone()));
        directory.names_changed(0);
        // For now the kernel wants the file that it has asked with; it will look the name up.
        Ok(Entry { node: number, ..node.count()? })
    }

    /// Removes a name of anything but a directory.
    pub(super) fn unlink(&self, directory: u64, name: &[u8]) -> Answer<()> {
        let directory = self.node(directory)?;
        let structure = self.structure.read();
        let mut names = directory.directory()?.write();
        let place = names.find(&self.hasher, name).ok_or(Errno::ENOENT)?;
        let node = names.at(place).cloned().ok_or(Errno::ENOENT)?;
        if node.is_directory() {
            return Err(Errno::EISDIR);
        }
        names.take(place);
        directory.names_changed(0);
        drop((names, structure));
        self.one_name_fewer(&node);
        Ok(())
    }

    /// Removes an empty directory.
    pub(super) fn remove_directory(&self, directory: u64, name: &[u8]) -> Answer<()> {
        let directory = self.node(directory)?;
        let structure = self.structure.write();
        let mut names = directory.directory()?.write();
        let place = names.find(&self.hasher, name).ok_or(Errno::ENOENT)?;
        let node = names.at(place).cloned().ok_or(Errno::ENOENT)?;
        close(&node)?;
        names.take(place);
        directory.names_changed(-1);
        drop((names, structure));
        self.one_name_fewer(&node);
        Ok(())
    }

    pub(super) fn one_name_fewer(&self, node: &Node) {
        if node.unlink() {
            self.bury(node);
        }
    }
}

/// A directory that is empty takes no names any more.
pub(super) fn close(node: &Node) -> Answer<()> {
    let mut names = node.directory()?.write();
    if !names.is_empty() {
        return Err(Errno::ENOTEMPTY);
    }
    names.gone = true;
    Ok(())
}

/// What the kernel's OverlayFS leaves where something was.
pub(super) fn whiteout(ids: Ids) -> Birth {
    let (kind, body) = (FileType::CharDevice, Body::Special);
    Birth { kind, device: (0, 0), mode: 0, ids, xattrs: Xattrs::default(), body }
}

/// A new node has what its directory passes on: the group and the bit, where that is set-group-ID, and a default access control list.
fn birth(directory: &Arc<Node>, new: &New<'_>) -> Answer<Birth> {
    let mut ids = new.ids;
    let mut mode = new.mode & 0o7777;
    let mut xattrs = Xattrs::default();
    let parent = directory.meta.lock();
    let body = match new.kind {
        FileType::Directory => Body::Directory(Box::new(RwLock::new(Directory::new(Some(directory.number))))),
        FileType::Regular => Body::File(RwLock::default()),
        FileType::Symlink if new.target.len() > LONGEST_TARGET => return Err(Errno::ENAMETOOLONG),
        FileType::Symlink => Body::Link(new.target.into()),
        FileType::Unknown => return Err(Errno::EINVAL),
        FileType::Fifo | FileType::CharDevice | FileType::BlockDevice | FileType::Socket => Body::Special,
    };
    match parent.xattrs.acl(DEFAULT).filter(|_| new.kind != FileType::Symlink) {
        None => mode &= !new.umask,
        Some(default) => {
            if new.kind == FileType::Directory {
                xattrs.set(DEFAULT, &default.clone().value(), 0)?;
            }
            let (list, result) = default.inherited(mode);
            mode = result;
            if !list.is_plain() {
                xattrs.set(ACCESS, &list.value(), 0)?;
            }
        }
    }
    if parent.mode & 0o2000 != 0 {
        ids.gid = parent.ids.gid;
        if new.kind == FileType::Directory {
            mode |= 0o2000;
        }
    }
    Ok(Birth { kind: new.kind, device: new.device, mode, ids, xattrs, body })
}
