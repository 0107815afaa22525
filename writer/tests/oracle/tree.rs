//! A whole tree, for comparing.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::hash::{Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use condatainer_formats::ext::{FileType, raw::ROOT_INO};
use condatainer_writer::Volume;
use rustc_hash::FxHasher;
use rustix::fs::{SeekFrom, makedev, seek};

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

impl Inode {
    /// Whether it is the same, in as many blocks or fewer.
    pub fn is_like(&self, other: &Self) -> bool {
        self.sectors <= other.sectors && *self == Self { sectors: self.sectors, ..other.clone() }
    }
}

pub fn of(root: &Path) -> Tree {
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
        kind if kind.is_file() => of_file(&File::open(at).unwrap(), says.size()),
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
        ids: if is_whiteout(says.mode(), says.rdev()) { (0, 0) } else { (says.uid(), says.gid()) },
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
        FileType::Regular => of_inode(volume, ino, stat.size),
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
        ids: if is_whiteout(kind | u32::from(stat.mode), makedev(stat.device.0, stat.device.1)) {
            (0, 0)
        } else {
            (stat.ids.uid, stat.ids.gid)
        },
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

/// One that a renaming has left belongs to whom its directory does, and to who renames in the kernel. Nobody looks.
fn is_whiteout(mode: u32, device: u64) -> bool {
    (mode, device) == (0o020_000, 0)
}

/// What a file holds, by the pieces that have data.
fn of_file(file: &File, size: u64) -> u64 {
    let next = |at: u64| seek(file, SeekFrom::Data(at)).ok();
    contents(size, next, |at, buf| file.read_exact_at(buf, at).unwrap())
}

fn of_inode(volume: &Volume, ino: u32, size: u64) -> u64 {
    let next = |at: u64| volume.seek(ino, at, false).ok();
    contents(size, next, |at, buf| {
        let mut done = 0;
        while done < buf.len() {
            let length = volume.read(ino, at + done as u64, &mut buf[done..]).unwrap();
            assert!(length > 0);
            done += length;
        }
    })
}

/// Zeros do not count, whether they are on the disk or in a hole: sparse files are as long as they like.
fn contents(size: u64, next: impl Fn(u64) -> Option<u64>, read: impl Fn(u64, &mut [u8])) -> u64 {
    const ZEROS: [u8; 4096] = [0; 4096];
    let (mut hasher, mut buf, mut at) = (FxHasher::default(), vec![0; 64 << 10], 0);
    while let Some(data) = next(at).filter(|data| *data < size) {
        // Pieces begin where those of the other side do.
        at = data / 4096 * 4096;
        let length = (size - at).min(buf.len() as u64) as usize;
        read(at, &mut buf[..length]);
        for chunk in buf[..length].chunks(4096) {
            if chunk != &ZEROS[..chunk.len()] {
                (at, chunk).hash(&mut hasher);
            }
            at += chunk.len() as u64;
        }
    }
    hasher.finish()
}

fn digest(content: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    content.hash(&mut hasher);
    hasher.finish()
}
