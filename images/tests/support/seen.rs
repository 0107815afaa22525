//! Trees as the kernel shows them, to be compared: a mounted image beside a mounted layer.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Everything that one name is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub mode: u32,
    pub ids: (u32, u32),
    /// In seconds.
    pub mtime: i64,
    /// Of a directory: 0, since each file system has its own idea.
    pub size: u64,
    pub device: u64,
    pub target: Option<PathBuf>,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first name of the same inode, in order.
    pub first: Vec<u8>,
}

pub type Tree = BTreeMap<Vec<u8>, Shown>;

/// The tree at `root`, by path without a slash in front.
pub fn shown(root: &Path) -> Tree {
    let (mut all, mut firsts, mut pending) = (Tree::new(), BTreeMap::new(), vec![Vec::new()]);
    let mut order = Vec::new();
    while let Some(path) = pending.pop() {
        let meta = fs::symlink_metadata(root.join(OsStr::from_bytes(&path))).unwrap();
        if meta.is_dir() {
            for entry in fs::read_dir(root.join(OsStr::from_bytes(&path))).unwrap() {
                let name = entry.unwrap().file_name().into_vec();
                pending.push(if path.is_empty() { name } else { [&path[..], &name].join(&b'/') });
            }
        }
        order.push((path, meta));
    }
    order.sort_by(|a, b| a.0.cmp(&b.0));
    for (path, meta) in order {
        let first = firsts.entry((meta.dev(), meta.ino())).or_insert_with(|| path.clone()).clone();
        all.insert(path.clone(), one(&root.join(OsStr::from_bytes(&path)), &meta, first));
    }
    all
}

fn one(path: &Path, meta: &fs::Metadata, first: Vec<u8>) -> Shown {
    // A squashfs without any attribute has no such call.
    let names = xattr::list(path).into_iter().flatten().map(OsStringExt::into_vec);
    let value = |name: &Vec<u8>| xattr::get(path, OsStr::from_bytes(name)).unwrap().unwrap();
    Shown {
        mode: meta.mode(),
        ids: (meta.uid(), meta.gid()),
        mtime: meta.mtime(),
        size: if meta.is_dir() { 0 } else { meta.size() },
        device: meta.rdev(),
        target: fs::read_link(path).ok(),
        xattrs: names.map(|name| (name.clone(), value(&name))).collect(),
        first,
    }
}

/// Fails unless every regular file has the same content in both places.
pub fn same_contents(tree: &Tree, one: &Path, other: &Path) {
    for (path, shown) in tree.iter().filter(|(_, shown)| shown.mode & 0o170_000 == 0o100_000) {
        let open = |root: &Path| File::open(root.join(OsStr::from_bytes(path))).unwrap();
        let (mut one, mut other) = (open(one), open(other));
        let (mut a, mut b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
        let mut left = shown.size;
        while left > 0 {
            let length = left.min(1 << 20) as usize;
            one.read_exact(&mut a[..length]).unwrap();
            other.read_exact(&mut b[..length]).unwrap();
            assert!(a[..length] == b[..length], "{:?} differs", String::from_utf8_lossy(path));
            left -= length as u64;
        }
    }
}

/// Fails with the names in which the trees differ.
pub fn assert_same(expected: &Tree, found: &Tree, label: &str) {
    let differing = expected.keys().chain(found.keys()).filter(|path| expected.get(*path) != found.get(*path));
    let lines: Vec<_> = differing
        .map(|path| format!("{:?}\n  {:?}\n  {:?}", String::from_utf8_lossy(path), expected.get(path), found.get(path)))
        .collect();
    assert!(lines.is_empty(), "{label}:\n{}", lines.join("\n"));
}
