//! What the server asks.

use condatainer_formats::ext::{FileType, Xattr};
use condatainer_formats::overlayfs::is_private;
use nix::errno::Errno;

use super::Overlay;
use super::decide::Shows;
use crate::layer::Attributes;
use crate::serve::tree::{Answer, Changes, Entry, Listed, New, Renaming, Room, Tree, WRITABLE};
use crate::workspace::number_of;

/// In bytes, as ext3 has them.
const LONGEST_NAME: usize = 255;

impl Tree for Overlay {
    fn lookup(&self, directory: u64, name: &[u8]) -> Answer<Entry> {
        if name.len() > LONGEST_NAME {
            return Err(Errno::ENAMETOOLONG);
        }
        let _naming = self.naming.read();
        let found = self.take(directory, name)?;
        match (found.shows, found.upper, found.below) {
            (Shows::Upper, Some((ino, attributes)), _) => self.given(Entry { node: number_of(ino), attributes }),
            (Shows::Both, Some((ino, attributes)), Some(_)) => self.both(directory, name, ino, attributes),
            (Shows::Below, _, Some(_)) => {
                let Entry { node, attributes } = self.lower.lookup(directory, name)?;
                self.known.is_given(node, directory);
                // Where it was copied under another of its names, or has lost one.
                let is_as_it_was = self.known.copy(node).is_none() && self.known.gone(node) == 0;
                let says = if is_as_it_was { Ok(attributes) } else { self.says(node) };
                says.map(|attributes| Entry { node, attributes }).inspect_err(|_| self.forget(node, 1))
            }
            _ => Err(Errno::ENOENT),
        }
    }

    fn forget(&self, node: u64, count: u64) {
        if node & WRITABLE != 0 {
            return self.upper.forget(node, count);
        }
        let links = || self.lower.attributes(node).map_or(0, |says| says.links);
        let copy = self.known.forget(node, count, |it| match it.copy {
            _ if node == self.root => true,
            Some(ino) => self.upper.attributes(number_of(ino)).is_ok_and(|says| match says.kind {
                // One that both have is found to be so again.
                FileType::Directory => it.is_whole && !it.are_many,
                // Its other names show the copy, too.
                _ => it.gone < links() || says.links > 0 && !it.are_many,
            }),
            None => it.gone > 0 && it.gone < links(),
        });
        self.lower.forget(node, count);
        if let Some(ino) = copy {
            self.upper.forget(number_of(ino), 1);
        }
    }

    fn may_change(&self, node: u64) -> bool {
        node & WRITABLE == 0 && self.known.copy(node).is_none() && self.lower.may_change(node)
    }

    fn any_may_change(&self) -> bool {
        self.lower.any_may_change()
    }

    fn open(&self, file: u64) -> Answer<()> {
        if self.in_image(file).is_some() { Ok(()) } else { self.lower.open(file) }
    }

    fn close(&self, file: u64) {
        if file & WRITABLE == 0 {
            self.lower.close(file);
        }
    }

    fn attributes(&self, node: u64) -> Answer<Attributes> {
        if node & WRITABLE != 0 { self.upper.attributes(node) } else { self.says(node) }
    }

    fn has_set_ids(&self, node: u64) -> Answer<bool> {
        let (tree, number) = self.place_of(node);
        tree.has_set_ids(number)
    }

    fn list(&self, directory: u64, from: u64, visit: &mut dyn FnMut(&Listed<'_>) -> bool) -> Answer<()> {
        self.list_names(directory, from, visit)
    }

    fn read(&self, file: u64, offset: u64, buf: &mut [u8]) -> Answer<usize> {
        let (tree, number) = self.place_of(file);
        tree.read(number, offset, buf)
    }

    fn seek(&self, file: u64, offset: u64, hole: bool) -> Answer<u64> {
        let (tree, number) = self.place_of(file);
        tree.seek(number, offset, hole)
    }

    fn target(&self, link: u64) -> Answer<Vec<u8>> {
        let (tree, number) = self.place_of(link);
        tree.target(number)
    }

    fn xattr(&self, node: u64, name: &[u8]) -> Answer<Vec<u8>> {
        if is_ours(name) {
            return Err(Errno::ENODATA);
        }
        let (tree, number) = self.place_of(node);
        tree.xattr(number, name)
    }

    fn xattrs(&self, node: u64) -> Answer<Vec<u8>> {
        let (tree, number) = self.place_of(node);
        let names = tree.xattrs(number)?;
        let names = names.split_inclusive(|byte| *byte == 0);
        Ok(names.filter(|name| !is_ours(name)).flatten().copied().collect())
    }

    fn room(&self) -> Room {
        self.upper.room()
    }

    fn make(&self, directory: u64, name: &[u8], new: &New<'_>) -> Answer<Entry> {
        self.make_name(directory, name, new)
    }

    fn link(&self, node: u64, directory: u64, name: &[u8]) -> Answer<Entry> {
        self.link_name(node, directory, name)
    }

    fn remove(&self, directory: u64, name: &[u8], directory_wanted: bool) -> Answer<()> {
        self.remove_name(directory, name, directory_wanted)
    }

    fn rename(&self, from: (u64, &[u8]), to: (u64, &[u8]), how: Renaming) -> Answer<()> {
        self.rename_name(from, to, how)
    }

    fn change(&self, node: u64, changes: &Changes) -> Answer<Attributes> {
        let ino = self.up_to(node, changes.size.unwrap_or(u64::MAX))?;
        let says = self.upper.change(number_of(ino), changes)?;
        Ok(if node & WRITABLE == 0 { self.with_links(node, says) } else { says })
    }

    fn write(&self, file: u64, offset: u64, data: &[u8], strip: bool) -> Answer<usize> {
        self.upper.write(number_of(self.up(file)?), offset, data, strip)
    }

    fn allocate(&self, file: u64, offset: u64, length: u64, mode: i32, strip: bool) -> Answer<()> {
        self.upper.allocate(number_of(self.up(file)?), offset, length, mode, strip)
    }

    fn set_xattr(&self, node: u64, name: &[u8], value: &[u8], flags: i32) -> Answer<()> {
        if is_ours(name) {
            return Err(Errno::EOPNOTSUPP);
        }
        self.upper.set_xattr(number_of(self.up(node)?), name, value, flags)
    }

    fn remove_xattr(&self, node: u64, name: &[u8]) -> Answer<()> {
        if is_ours(name) {
            return Err(Errno::EOPNOTSUPP);
        }
        self.upper.remove_xattr(number_of(self.up(node)?), name)
    }

    fn sync(&self, node: u64, only_data: bool) -> Answer<()> {
        // What only the layers have lasts.
        self.in_image(node).map_or(Ok(()), |ino| self.upper.sync(number_of(ino), only_data))
    }
}

impl Overlay {
    /// What the kernel is given of a directory that both have. The image's inode is in use, and stays so once for as long as this is known.
    fn both(&self, directory: u64, name: &[u8], ino: u32, attributes: Attributes) -> Answer<Entry> {
        let found = self.lower.lookup(directory, name).inspect_err(|_| self.upper.forget(number_of(ino), 1))?;
        self.known.is_given(found.node, directory);
        match self.known.copy(found.node) {
            None => self.known.is_copied(found.node, ino),
            Some(_) => self.upper.forget(number_of(ino), 1),
        }
        Ok(Entry { node: found.node, attributes: self.with_links(found.node, attributes) })
    }

    /// Which tree has something, and by which number.
    fn place_of(&self, node: u64) -> (&dyn Tree, u64) {
        match self.in_image(node) {
            Some(ino) => (&self.upper, number_of(ino)),
            None => (&self.lower, node),
        }
    }
}

/// An attribute in which an overlay notes something for itself.
fn is_ours(name: &[u8]) -> bool {
    let name = name.strip_suffix(b"\0").unwrap_or(name).to_vec();
    is_private(&Xattr { name, value: Vec::new() })
}
