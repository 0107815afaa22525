//! The mount points that an engine needs, as the lowest layer: directories and empty files, kept in memory.
//!
//! Whatever an image has itself wins, since all images lie above.

use std::collections::BTreeMap;
use std::io;

use nix::errno::Errno;

use super::{Attributes, Entry, Key, Layer, Time};
use condatainer_formats::ext::{FileType, Ids, Xattr};

/// Directories and empty files.
#[derive(Debug)]
pub struct Points {
    nodes: Vec<Node>,
    made: Time,
}

#[derive(Debug)]
struct Node {
    kind: FileType,
    mode: u16,
    ids: Ids,
    children: BTreeMap<Vec<u8>, usize>,
}

impl Points {
    /// Nothing but a root directory. Everything in it is shown as made at `made`.
    #[must_use]
    pub fn new(ids: Ids, made: Time) -> Self {
        Self { nodes: vec![Node::new(FileType::Directory, 0o755, ids)], made }
    }

    /// Adds a directory or an empty file, whose missing parents become root's directories. What is there already stays, but a
    /// directory takes mode and ids of one that is added later by its own name.
    ///
    /// # Errors
    /// A name on the way is a file (`ENOTDIR`), or the last one is something else (`EEXIST`).
    pub fn add(&mut self, path: &[Vec<u8>], kind: FileType, mode: u16, ids: Ids) -> io::Result<()> {
        let mut at = 0;
        for (depth, name) in path.iter().enumerate() {
            let last = depth + 1 == path.len();
            let (kind, mode, ids) = if last { (kind, mode, ids) } else { (FileType::Directory, 0o755, Ids::ROOT) };
            at = match self.child(at, name) {
                Some(child) => child,
                None => self.put(at, name, Node::new(kind, mode, ids)),
            };
            let Some(node) = self.nodes.get_mut(at) else { break };
            match node.kind {
                there if there != kind => return Err(if last { Errno::EEXIST } else { Errno::ENOTDIR }.into()),
                _ if last => (node.mode, node.ids) = (mode, ids),
                _ => {}
            }
        }
        Ok(())
    }

    fn child(&self, at: usize, name: &[u8]) -> Option<usize> {
        self.nodes.get(at)?.children.get(name).copied()
    }

    fn put(&mut self, at: usize, name: &[u8], node: Node) -> usize {
        let number = self.nodes.len();
        self.nodes.push(node);
        if let Some(parent) = self.nodes.get_mut(at) {
            parent.children.insert(name.to_vec(), number);
        }
        number
    }

    fn node(&self, key: Key) -> io::Result<&Node> {
        let node = usize::try_from(key.0).ok().and_then(|number| self.nodes.get(number));
        node.ok_or_else(|| Errno::ESTALE.into())
    }
}

impl Node {
    fn new(kind: FileType, mode: u16, ids: Ids) -> Self {
        Self { kind, mode, ids, children: BTreeMap::new() }
    }
}

impl Layer for Points {
    fn root(&self) -> Key {
        Key(0)
    }

    fn attributes(&self, key: Key) -> io::Result<Attributes> {
        let node = self.node(key)?;
        let kind = |child: &usize| self.nodes.get(*child).map(|node| node.kind);
        let directories = node.children.values().filter(|child| kind(child) == Some(FileType::Directory)).count();
        let links = if node.kind == FileType::Directory { 2 + directories } else { 1 };
        Ok(Attributes {
            kind: node.kind,
            mode: node.mode,
            ids: node.ids,
            size: 0,
            blocks: 0,
            links: u32::try_from(links).unwrap_or(u32::MAX),
            device: (0, 0),
            accessed: self.made,
            modified: self.made,
            changed: self.made,
        })
    }

    fn entries(&self, directory: Key, visit: &mut dyn FnMut(Entry<'_>) -> bool) -> io::Result<()> {
        let node = self.node(directory)?;
        if node.kind != FileType::Directory {
            return Err(Errno::ENOTDIR.into());
        }
        for (name, child) in &node.children {
            let kind = self.nodes.get(*child).map(|node| node.kind);
            if !visit(Entry { name, key: Key(*child as u64), kind }) {
                break;
            }
        }
        Ok(())
    }

    fn read(&self, file: Key, _offset: u64, _buf: &mut [u8]) -> io::Result<usize> {
        match self.node(file)?.kind {
            FileType::Regular => Ok(0),
            _ => Err(Errno::EINVAL.into()),
        }
    }

    fn target(&self, link: Key) -> io::Result<Vec<u8>> {
        self.node(link)?;
        Err(Errno::EINVAL.into())
    }

    fn xattrs(&self, key: Key) -> io::Result<Vec<Xattr>> {
        self.node(key).map(|_| Vec::new())
    }

    fn may_have_xattrs(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(path: &str) -> Vec<Vec<u8>> {
        path.split('/').filter(|name| !name.is_empty()).map(|name| name.as_bytes().to_vec()).collect()
    }

    #[test]
    fn parents_are_made_and_kinds_do_not_mix() {
        let mut points = Points::new(Ids::ROOT, Time::default());
        let user = Ids { uid: 7, gid: 8 };
        points.add(&path("home/alice"), FileType::Directory, 0o700, user).unwrap();
        points.add(&path("etc/passwd"), FileType::Regular, 0o644, Ids::ROOT).unwrap();
        points.add(&path("home"), FileType::Directory, 0o711, Ids::ROOT).unwrap();
        let errors = [("etc/passwd/x", FileType::Directory), ("home", FileType::Regular)]
            .map(|(at, kind)| points.add(&path(at), kind, 0, user).unwrap_err().raw_os_error());
        assert_eq!(errors, [Some(Errno::ENOTDIR as i32), Some(Errno::EEXIST as i32)]);

        let mut names = Vec::new();
        let mut note = |entry: Entry<'_>| {
            names.push((entry.name.to_vec(), entry.key));
            true
        };
        points.entries(points.root(), &mut note).unwrap();
        assert_eq!(names.iter().map(|(name, _)| &name[..]).collect::<Vec<_>>(), [&b"etc"[..], b"home"]);
        let home = points.attributes(names[1].1).unwrap();
        assert_eq!((home.mode, home.links, home.kind), (0o711, 3, FileType::Directory));
        assert!(points.attributes(Key(99)).is_err() && points.read(Key(0), 0, &mut []).is_err());
    }
}
