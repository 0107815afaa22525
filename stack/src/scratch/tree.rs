//! What the server asks of the scratch tree.

use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;

use super::fs::Scratch;
use super::node::Body;
use crate::layer::Attributes;
use crate::serve::tree::{Answer, Changes, Entry, Listed, New, Renaming, Room, Tree};

/// Nobody answers a FORGET, so a program that has just removed a file may write again before another thread has freed its room.
const FORGETTING: [Duration; 3] = [Duration::from_millis(1), Duration::from_millis(4), Duration::from_millis(15)];

/// Tries what needs room on the disk, and again where there is none.
fn with_room<T>(attempt: impl Fn() -> Answer<T>) -> Answer<T> {
    let is_full = |result: &Answer<T>| matches!(result, Err(Errno::ENOSPC | Errno::EDQUOT));
    let mut result = attempt();
    for pause in FORGETTING {
        if !is_full(&result) {
            break;
        }
        sleep(pause);
        result = attempt();
    }
    result
}

impl Tree for Scratch {
    fn lookup(&self, directory: u64, name: &[u8]) -> Answer<Entry> {
        self.look_up(directory, name)
    }

    fn entry(&self, _directory: u64, listed: &Listed<'_>) -> Answer<Entry> {
        let node = self.node(listed.node).map_err(|_| Errno::ENOENT)?;
        Ok(Entry { node: listed.node, ..node.count()? })
    }

    fn forget(&self, node: u64, count: u64) {
        if let Ok(node) = self.node(node)
            && node.forget(count)
        {
            self.bury(&node);
        }
    }

    fn shared(&self, node: u64) -> Option<u64> {
        let node = self.node(node).ok()?;
        let is_shared = node.meta.lock().aliases.is_some();
        is_shared.then_some(node.number)
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
        with_room(|| self.write_file(file, offset, data, strip))
    }

    fn allocate(&self, file: u64, offset: u64, length: u64, mode: i32, strip: bool) -> Answer<()> {
        with_room(|| self.allocate_file(file, offset, length, mode, strip))
    }

    fn set_xattr(&self, node: u64, name: &[u8], value: &[u8], flags: i32) -> Answer<()> {
        self.set_attribute(node, name, value, flags)
    }

    fn remove_xattr(&self, node: u64, name: &[u8]) -> Answer<()> {
        self.remove_attribute(node, name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use condatainer_formats::ext::{FileType, Ids};

    use super::*;
    use crate::scratch::Backing;

    fn scratch() -> Scratch {
        Scratch::new(Backing::in_memory().unwrap(), None, Ids::ROOT, 0o755)
    }

    fn new(kind: FileType) -> New<'static> {
        New { kind, mode: 0o777, umask: 0o22, ids: Ids { uid: 5, gid: 6 }, device: (0, 0), target: b"somewhere" }
    }

    fn names(scratch: &Scratch, directory: u64, from: u64, most: usize) -> Vec<(String, u64)> {
        let mut names = Vec::new();
        let listed = scratch.list(directory, from, &mut |listed| {
            names.push((String::from_utf8(listed.name.to_vec()).unwrap(), listed.next));
            names.len() < most
        });
        listed.unwrap();
        names
    }

    #[test]
    fn a_hundred_thousand_names_are_listed_piece_by_piece_while_others_go() {
        let scratch = scratch();
        let d = scratch.upper();
        for n in 0..100_000 {
            scratch.make(d, format!("{n}").as_bytes(), &new(FileType::Regular)).unwrap();
        }
        let (mut seen, mut from) = (BTreeSet::new(), 0);
        loop {
            let piece = names(&scratch, d, from, 1000);
            let Some((_, next)) = piece.last() else { break };
            from = *next;
            for (name, _) in piece {
                scratch.remove(d, name.as_bytes(), false).unwrap();
                assert!(seen.insert(name));
            }
        }
        assert_eq!((seen.len(), names(&scratch, d, 0, 9)), (100_000, Vec::new()));
    }

    #[test]
    fn a_node_lives_until_it_has_neither_name_nor_user() {
        let scratch = scratch();
        let (d, file) = (scratch.upper(), new(FileType::Regular));
        let entry = scratch.make(d, b"f", &file).unwrap();
        assert_eq!((entry.attributes.mode, entry.attributes.ids), (0o755, file.ids));
        scratch.remove(d, b"f", false).unwrap();
        assert_eq!(scratch.write(entry.node, 0, b"x", false), Ok(1));
        assert_eq!(scratch.link(entry.node, d, b"g"), Err(Errno::ENOENT));
        scratch.forget(entry.node, 1);
        assert_eq!(scratch.attributes(entry.node), Err(Errno::ESTALE));
        // Forgotten first, it goes with its name.
        let entry = scratch.make(d, b"f", &file).unwrap();
        scratch.forget(entry.node, 1);
        assert!(scratch.attributes(entry.node).is_ok());
        scratch.remove(d, b"f", false).unwrap();
        assert_eq!(scratch.attributes(entry.node), Err(Errno::ESTALE));
    }

    #[test]
    fn a_file_has_as_many_names_as_on_ext4() {
        let scratch = scratch();
        let d = scratch.work();
        let whiteout = scratch.make(d, b"0", &new(FileType::CharDevice)).unwrap();
        for n in 1..65_000 {
            scratch.link(whiteout.node, d, format!("{n}").as_bytes()).unwrap();
        }
        assert_eq!(scratch.link(whiteout.node, d, b"more"), Err(Errno::EMLINK));
    }

    /// What the kernel checks before it asks, and somebody else who speaks the protocol may not.
    #[test]
    fn no_request_breaks_the_tree() {
        let scratch = scratch();
        let (top, directory) = (scratch.upper(), new(FileType::Directory));
        let a = scratch.make(top, b"a", &directory).unwrap().node;
        let b = scratch.make(a, b"b", &directory).unwrap().node;
        let rename = |from: (u64, &[u8]), to: (u64, &[u8])| scratch.rename(from, to, Renaming::default());
        let exchange = Renaming { exchange: true, ..Renaming::default() };
        assert_eq!(rename((top, b"a"), (b, b"c")), Err(Errno::EINVAL));
        assert_eq!(scratch.rename((a, b"b"), (top, b"a"), exchange), Err(Errno::EINVAL));
        assert_eq!(rename((a, b"b"), (top, b"a")), Err(Errno::ENOTEMPTY));
        for name in [&b""[..], b".", b"..", b"x/y", b"x\0y"] {
            assert_eq!(scratch.make(top, name, &directory), Err(Errno::EINVAL));
        }
        assert_eq!(scratch.make(top, &[b'x'; 256], &directory), Err(Errno::ENAMETOOLONG));
        assert_eq!(scratch.link(a, top, b"c"), Err(Errno::EPERM));
        scratch.remove(a, b"b", true).unwrap();
        assert_eq!(scratch.make(b, b"late", &directory), Err(Errno::ENOENT));
        assert_eq!(scratch.write(a, 0, b"x", false), Err(Errno::EISDIR));
        let file = scratch.make(top, b"f", &new(FileType::Regular)).unwrap().node;
        assert_eq!(scratch.write(file, u64::MAX - 1, b"xyz", false), Err(Errno::EFBIG));
        assert_eq!(scratch.allocate(file, 1 << 62, 1 << 62, 0, false), Err(Errno::EFBIG));
        let whiteout = Renaming { whiteout: true, ..Renaming::default() };
        scratch.rename((top, b"f"), (a, b"f"), whiteout).unwrap();
        assert_eq!(scratch.lookup(top, b"f").unwrap().attributes.kind, FileType::CharDevice);
    }
}
