//! A whole tree, for comparing.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use condatainer_formats::ext::{FileType, raw::ROOT_INO};
use condatainer_writer::Volume;

/// What stands under each path. Inodes have the order in which they are met, so that hard links are seen.
pub type Tree = BTreeMap<Vec<u8>, Inode>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inode {
    number: usize,
    mode: u32,
    ids: (u32, u32),
    links: u64,
    /// Not of directories, which may have more blocks than they need.
    size: u64,
    sectors: u64,
    device: (u32, u32),
    content: u64,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

pub fn of(root: &Path) -> Tree {
    assert!(Command::new("sync").arg("-f").arg(root).status().unwrap().success());
    let (mut tree, mut numbers) = (Tree::new(), BTreeMap::new());
    walk(root, &mut Vec::new(), &mut tree, &mut numbers);
    tree
}

fn walk(at: &Path, name: &mut Vec<u8>, tree: &mut Tree, numbers: &mut BTreeMap<u64, usize>) {
    let says = fs::symlink_metadata(at).unwrap();
    let next = numbers.len();
    let number = *numbers.entry(says.ino()).or_insert(next);
    tree.insert(name.clone(), inode(at, &says, number));
    if says.is_dir() {
        let mut names: Vec<_> = fs::read_dir(at).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        for entry in names.iter().filter(|entry| *entry != "lost+found") {
            let length = name.len();
            name.push(b'/');
            name.extend(entry.as_bytes());
            walk(&at.join(entry), name, tree, numbers);
            name.truncate(length);
        }
    }
}

fn inode(at: &Path, says: &Metadata, number: usize) -> Inode {
    let content = match says.file_type() {
        kind if kind.is_file() => fs::read(at).map(|content| digest(&content)).unwrap(),
        kind if kind.is_symlink() => digest(fs::read_link(at).unwrap().as_os_str().as_bytes()),
        _ => 0,
    };
    let mut xattrs: Vec<_> = xattr::list(at)
        .unwrap()
        .map(|name| (name.as_bytes().to_vec(), xattr::get(at, &name).unwrap().unwrap()))
        .collect();
    xattrs.sort();
    let is_directory = says.is_dir();
    Inode {
        number,
        mode: says.mode(),
        ids: (says.uid(), says.gid()),
        links: says.nlink(),
        size: if is_directory { 0 } else { says.size() },
        sectors: if is_directory { 0 } else { says.blocks() },
        device: (rustix::fs::major(says.rdev()), rustix::fs::minor(says.rdev())),
        content,
        xattrs,
    }
}

pub fn of_volume(volume: &Volume) -> Tree {
    let (mut tree, mut numbers) = (Tree::new(), BTreeMap::new());
    walk_volume(volume, ROOT_INO, &mut Vec::new(), &mut tree, &mut numbers);
    tree
}

fn walk_volume(volume: &Volume, ino: u32, name: &mut Vec<u8>, tree: &mut Tree, numbers: &mut BTreeMap<u32, usize>) {
    let stat = volume.stat(ino).unwrap();
    let next = numbers.len();
    let number = *numbers.entry(ino).or_insert(next);
    let content = match stat.kind {
        FileType::Regular => digest(&whole(volume, ino, stat.size)),
        FileType::Symlink => digest(&volume.target(ino).unwrap()),
        _ => 0,
    };
    let mut xattrs: Vec<_> = volume
        .xattrs(ino)
        .unwrap()
        .into_iter()
        .map(|name| {
            let value = volume.xattr(ino, &name).unwrap();
            (name, value)
        })
        .collect();
    xattrs.sort();
    let is_directory = stat.kind == FileType::Directory;
    let kind = match stat.kind {
        FileType::Fifo => 0o010_000,
        FileType::CharDevice => 0o020_000,
        FileType::Directory => 0o040_000,
        FileType::BlockDevice => 0o060_000,
        FileType::Regular => 0o100_000,
        FileType::Symlink => 0o120_000,
        FileType::Socket => 0o140_000,
        FileType::Unknown => 0,
    };
    let inode = Inode {
        number,
        mode: kind | u32::from(stat.mode),
        ids: (stat.ids.uid, stat.ids.gid),
        links: stat.links.into(),
        size: if is_directory { 0 } else { stat.size },
        sectors: if is_directory { 0 } else { stat.sectors },
        device: stat.device,
        content,
        xattrs,
    };
    tree.insert(name.clone(), inode);
    if is_directory {
        let mut names = Vec::new();
        volume
            .list(ino, 0, &mut |listed| {
                names.push((listed.name.clone(), listed.ino));
                true
            })
            .unwrap();
        names.sort();
        for (entry, ino) in names.into_iter().filter(|(entry, _)| entry != b"lost+found") {
            let length = name.len();
            name.push(b'/');
            name.extend(&entry);
            walk_volume(volume, ino, name, tree, numbers);
            name.truncate(length);
        }
    }
}

fn whole(volume: &Volume, ino: u32, size: u64) -> Vec<u8> {
    let mut content = vec![0; size as usize];
    let mut done = 0;
    while done < content.len() {
        let length = volume.read(ino, done as u64, &mut content[done..]).unwrap();
        assert!(length > 0);
        done += length;
    }
    content
}

fn digest(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    // Long runs of zeros are told by their length: sparse files are as long as they like.
    let end = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    (content.len(), &content[..end]).hash(&mut hasher);
    hasher.finish()
}
