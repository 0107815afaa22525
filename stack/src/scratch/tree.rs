//! What the server asks of the scratch tree.

use nix::errno::Errno;

use super::fs::Scratch;
use super::node::Body;
use crate::layer::Attributes;
use crate::serve::tree::{Answer, Changes, Entry, Listed, New, Renaming, Room, Tree};

impl Tree for Scratch {
    fn lookup(&self, directory: u64, name: &[u8]) -> Answer<Entry> {
        self.look_up(directory, name)
    }

    fn entry(&self, _directory: u64, listed: &Listed<'_>) -> Answer<Entry> {
        self.node(listed.node).map_err(|_| Errno::ENOENT)?.count()
    }

    fn forget(&self, node: u64, count: u64) {
        if let Ok(node) = self.node(node)
            && node.forget(count)
        {
            self.bury(&node);
        }
    }

    fn attributes(&self, node: u64) -> Answer<Attributes> {
        Ok(self.node(node)?.attributes())
    }

    fn list(&self, directory: u64, from: u64, visit: &mut dyn FnMut(&Listed<'_>) -> bool) -> Answer<()> {
        let directory = self.node(directory)?;
        let names = directory.directory()?.read();
        for (place, entry) in names.from(from) {
            let listed = Listed { name: &entry.name, node: entry.node.number, kind: entry.node.kind, next: place + 1 };
            if !visit(&listed) {
                break;
            }
        }
        Ok(())
    }

    fn read(&self, file: u64, offset: u64, buf: &mut [u8]) -> Answer<usize> {
        self.read_file(file, offset, buf)
    }

    fn seek(&self, file: u64, offset: u64, hole: bool) -> Answer<u64> {
        self.seek_file(file, offset, hole)
    }

    fn target(&self, link: u64) -> Answer<Vec<u8>> {
        match &self.node(link)?.body {
            Body::Link(target) => Ok(target.to_vec()),
            _ => Err(Errno::EINVAL),
        }
    }

    fn xattr(&self, node: u64, name: &[u8]) -> Answer<Vec<u8>> {
        let node = self.node(node)?;
        let meta = node.meta.lock();
        meta.xattrs.get(name).map(<[u8]>::to_vec).ok_or(Errno::ENODATA)
    }

    fn xattrs(&self, node: u64) -> Answer<Vec<u8>> {
        Ok(self.node(node)?.meta.lock().xattrs.names())
    }

    fn room(&self) -> Room {
        let none = Room { block: 4096, blocks: 0, free: 0, inodes: 0, free_inodes: 0 };
        self.data.room().unwrap_or(none)
    }

    fn make(&self, directory: u64, name: &[u8], new: &New<'_>) -> Answer<Entry> {
        self.make_node(directory, name, new)
    }

    fn link(&self, node: u64, directory: u64, name: &[u8]) -> Answer<Entry> {
        self.link_node(node, directory, name)
    }

    fn remove(&self, directory: u64, name: &[u8], directory_wanted: bool) -> Answer<()> {
        if directory_wanted { self.remove_directory(directory, name) } else { self.unlink(directory, name) }
    }

    fn rename(&self, from: (u64, &[u8]), to: (u64, &[u8]), how: Renaming) -> Answer<()> {
        self.rename_node(from, to, how)
    }

    fn change(&self, node: u64, changes: &Changes) -> Answer<Attributes> {
        self.change_node(node, changes)
    }

    fn write(&self, file: u64, offset: u64, data: &[u8], strip: bool) -> Answer<usize> {
        self.write_file(file, offset, data, strip)
    }

    fn allocate(&self, file: u64, offset: u64, length: u64, mode: i32) -> Answer<()> {
        self.allocate_file(file, offset, length, mode)
    }

    fn set_xattr(&self, node: u64, name: &[u8], value: &[u8], flags: i32) -> Answer<()> {
        self.set_attribute(node, name, value, flags)
    }

    fn remove_xattr(&self, node: u64, name: &[u8]) -> Answer<()> {
        self.remove_attribute(node, name)
    }
}
