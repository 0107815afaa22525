//! A directory of the host's as the tree that is only read.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use condatainer_formats::ext::{FileType, Ids};
use condatainer_stack::layer::{Attributes, Time};
use condatainer_stack::serve::tree::{Answer, Entry, Listed, Room, Tree};
use nix::errno::Errno;
use nix::unistd::{getegid, geteuid};

const FIRST: u64 = 16;

/// All files that were there in the beginning, each with a number; everything belongs to whoever serves it.
pub(crate) struct Host {
    nodes: Vec<Node>,
    /// By the host's number, for hard links.
    known: HashMap<u64, u64>,
}

struct Node {
    path: PathBuf,
    attributes: Attributes,
    names: Vec<(OsString, u64)>,
}

impl Host {
    pub(crate) fn new(root: &Path) -> Self {
        let mut host = Self { nodes: Vec::new(), known: HashMap::new() };
        host.add(root.into());
        host
    }

    pub(crate) fn root(&self) -> u64 {
        FIRST
    }

    fn add(&mut self, path: PathBuf) -> u64 {
        let found = fs::symlink_metadata(&path).unwrap();
        let time = Time { seconds: found.mtime(), nanoseconds: 0 };
        let attributes = Attributes {
            kind: FileType::from_mode(found.mode() as u16),
            mode: (found.mode() & 0o7777) as u16,
            ids: Ids { uid: geteuid().as_raw(), gid: getegid().as_raw() },
            size: found.size(),
            blocks: found.blocks(),
            links: u32::try_from(found.nlink()).unwrap(),
            device: (0, 0),
            accessed: time,
            modified: time,
            changed: time,
        };
        if let Some(number) = self.known.get(&found.ino()) {
            return *number;
        }
        let place = self.nodes.len();
        self.known.insert(found.ino(), place as u64 + FIRST);
        self.nodes.push(Node { path: path.clone(), attributes, names: Vec::new() });
        if found.is_dir() {
            let mut names: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            let names = names.into_iter().map(|name| (name.clone(), self.add(path.join(name)))).collect();
            self.nodes[place].names = names;
        }
        place as u64 + FIRST
    }

    fn node(&self, number: u64) -> Answer<&Node> {
        self.nodes.get((number - FIRST) as usize).ok_or(Errno::ESTALE)
    }
}

impl Tree for Host {
    fn lookup(&self, directory: u64, name: &[u8]) -> Answer<Entry> {
        let names = &self.node(directory)?.names;
        let place = names.binary_search_by(|(known, _)| known.as_bytes().cmp(name)).map_err(|_| Errno::ENOENT)?;
        Ok(Entry { node: names[place].1, attributes: self.node(names[place].1)?.attributes })
    }

    fn forget(&self, _: u64, _: u64) {}

    fn attributes(&self, node: u64) -> Answer<Attributes> {
        Ok(self.node(node)?.attributes)
    }

    fn list(&self, directory: u64, from: u64, visit: &mut dyn FnMut(&Listed<'_>) -> bool) -> Answer<()> {
        for (place, (name, node)) in self.node(directory)?.names.iter().enumerate().skip(from as usize) {
            let kind = self.node(*node)?.attributes.kind;
            if !visit(&Listed { name: name.as_bytes(), node: *node, kind, next: place as u64 + 1 }) {
                break;
            }
        }
        Ok(())
    }

    fn read(&self, file: u64, offset: u64, buf: &mut [u8]) -> Answer<usize> {
        let file = File::open(&self.node(file)?.path).map_err(|_| Errno::EIO)?;
        file.read_at(buf, offset).map_err(|_| Errno::EIO)
    }

    fn seek(&self, file: u64, offset: u64, hole: bool) -> Answer<u64> {
        let size = self.node(file)?.attributes.size;
        if offset >= size { Err(Errno::ENXIO) } else { Ok(if hole { size } else { offset }) }
    }

    fn target(&self, link: u64) -> Answer<Vec<u8>> {
        Ok(fs::read_link(&self.node(link)?.path).map_err(|_| Errno::EIO)?.into_os_string().into_vec())
    }

    fn xattr(&self, _: u64, _: &[u8]) -> Answer<Vec<u8>> {
        Err(Errno::ENODATA)
    }

    fn xattrs(&self, _: u64) -> Answer<Vec<u8>> {
        Ok(Vec::new())
    }

    fn room(&self) -> Room {
        Room { block: 4096, blocks: 0, free: 0, inodes: 0, free_inodes: 0 }
    }
}
