//! What a walk of a tree sees.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What one name says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub mode: u32,
    pub ids: (u32, u32),
    pub size: u64,
    pub links: u64,
    pub device: u64,
    pub times: [(i64, i64); 3],
    /// Content of a file, target of a link.
    pub content: Vec<u8>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The first path with the same inode.
    pub inode: Vec<u8>,
}

/// Everything below a directory, by path, and the directory itself as an empty path.
pub fn walk(root: &Path) -> BTreeMap<Vec<u8>, Seen> {
    walk_if(root, |_| true)
}

/// The same for a kernel overlay, which lists a whiteout that has nothing to hide, though nothing can be found there.
pub fn walk_overlay(root: &Path) -> BTreeMap<Vec<u8>, Seen> {
    walk_if(root, |path| path.symlink_metadata().is_ok())
}

fn walk_if(root: &Path, wanted: fn(&Path) -> bool) -> BTreeMap<Vec<u8>, Seen> {
    let (mut all, mut inodes, mut pending) = (BTreeMap::new(), BTreeMap::new(), vec![Vec::new()]);
    let mut order = Vec::new();
    while let Some(path) = pending.pop() {
        let at = root.join(std::ffi::OsStr::from_bytes(&path));
        let says = at.symlink_metadata().unwrap_or_else(|error| panic!("{at:?}: {error}"));
        if says.is_dir() {
            for entry in fs::read_dir(&at).unwrap_or_else(|error| panic!("{at:?}: {error}")) {
                let entry = entry.unwrap();
                if !wanted(&entry.path()) {
                    continue;
                }
                let name = entry.file_name().into_vec();
                let inner = if path.is_empty() { name } else { [&path[..], &name].join(&b'/') };
                let kind = entry.file_type().unwrap();
                let is = entry.path().symlink_metadata().unwrap().file_type();
                assert_eq!(kind, is, "{:?}: what the directory says of it", entry.path());
                pending.push(inner);
            }
        }
        order.push((path, at, says));
    }
    order.sort_by(|a, b| a.0.cmp(&b.0));
    for (path, at, says) in order {
        let content = match says.file_type() {
            kind if kind.is_file() => fs::read(&at).unwrap_or_else(|error| panic!("{at:?}: {error}")),
            kind if kind.is_symlink() => fs::read_link(&at).unwrap().into_os_string().into_vec(),
            _ => Vec::new(),
        };
        let mut xattrs: Vec<_> = xattr::list(&at)
            .into_iter()
            .flatten()
            .map(|name| (name.as_bytes().to_vec(), xattr::get(&at, &name).unwrap().unwrap_or_default()))
            .collect();
        xattrs.sort();
        let device = if says.file_type().is_file() || says.is_dir() { 0 } else { says.rdev() };
        let inode = inodes.entry((says.dev(), says.ino())).or_insert_with(|| path.clone()).clone();
        let seen = Seen {
            mode: says.mode(),
            ids: (says.uid(), says.gid()),
            size: says.size(),
            links: says.nlink(),
            device,
            times: [
                (says.atime(), says.atime_nsec()),
                (says.mtime(), says.mtime_nsec()),
                (says.ctime(), says.ctime_nsec()),
            ],
            content,
            xattrs,
            inode,
        };
        all.insert(path, seen);
    }
    all
}
