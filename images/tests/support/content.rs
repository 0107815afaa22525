//! What goes into an image, what is in it as the kernel shows it, and small disks to put images on.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Mounted, ok};

/// Puts this many files below `upper/opt` of a tree that an image is made of, a thousand in a directory, each with its text.
pub fn add_files(tree: &Path, count: u32, text: impl Fn(u32) -> String) {
    for number in 0..count {
        let directory = tree.join(format!("upper/opt/{}", number / 1000));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(number.to_string()), text(number)).unwrap();
    }
}

/// Everything in an image as the kernel shows it, by path: what kind of file, whose, since when, with which attributes, and a
/// digest of what is in it. Numbers of inodes are left out, for a shrunk file system may give files others.
pub fn contents(image: &Path) -> BTreeMap<PathBuf, String> {
    let mounted = Mounted::new(image, "ro");
    let mut all = BTreeMap::new();
    let mut pending = vec![mounted.at.path().to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            if meta.is_dir() {
                pending.push(path.clone());
            }
            all.insert(path.strip_prefix(mounted.at.path()).unwrap().to_owned(), described(&path, &meta));
        }
    }
    all
}

/// As [`contents`], but for the times of directories: resize2fs gives a new one to each in which a file has got another inode number, and
/// which those are depends on where the kernel has put the files.
pub fn moved_contents(image: &Path) -> BTreeMap<PathBuf, String> {
    let without_time = |described: String| {
        let words = described.split(' ').enumerate();
        words.map(|(at, word)| if at == 3 { "-" } else { word }).collect::<Vec<_>>().join(" ")
    };
    let is_directory = |described: &String| described.starts_with('4');
    let all = contents(image).into_iter();
    all.map(|(path, said)| (path, if is_directory(&said) { without_time(said) } else { said })).collect()
}

fn described(path: &Path, meta: &fs::Metadata) -> String {
    let mut digest = DefaultHasher::new();
    match meta.file_type() {
        kind if kind.is_file() => fs::read(path).unwrap().hash(&mut digest),
        kind if kind.is_symlink() => fs::read_link(path).unwrap().hash(&mut digest),
        _ => {}
    }
    let names = xattr::list(path).unwrap();
    let attributes: BTreeMap<_, _> =
        names.map(|name| (name.clone(), xattr::get(path, &name).unwrap_or_default())).collect();
    let links = if meta.is_dir() { 0 } else { meta.nlink() };
    format!(
        "{:o} {}:{} {} {} {} {links} {attributes:?} {:x}",
        meta.mode(),
        meta.uid(),
        meta.gid(),
        meta.rdev(),
        meta.mtime(),
        if meta.is_file() { meta.len() } else { 0 },
        digest.finish()
    )
}

/// The names in a directory.
pub fn names_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A file system in memory of its own, in megabytes; unmounted when dropped.
pub fn memory(megabytes: u64) -> Mounted {
    let at = tempfile::tempdir().unwrap();
    let size = format!("size={megabytes}m");
    ok(
        Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(at.path()).output().unwrap(),
        "mount tmpfs",
    );
    Mounted { at, image: None }
}

/// An ACL in the kernel's form: the owner, one user, the group, the mask, the others.
pub fn acl(user: u32, permissions: u16) -> Vec<u8> {
    let entry =
        |tag: u16, perm: u16, id: u32| [&tag.to_le_bytes()[..], &perm.to_le_bytes(), &id.to_le_bytes()].concat();
    let entries = [(1, 6, !0), (2, permissions, user), (4, 4, !0), (16, 6, !0), (32, 0, !0)];
    let entries: Vec<u8> = entries.into_iter().flat_map(|(tag, perm, id)| entry(tag, perm, id)).collect();
    [2_u32.to_le_bytes().to_vec(), entries].concat()
}

/// What a file is besides its content: owner, group, mode, and extended attributes.
pub fn outside(file: &Path) -> (u32, u32, u32, BTreeMap<OsString, Option<Vec<u8>>>) {
    let meta = fs::metadata(file).unwrap();
    let attributes = xattr::list(file).unwrap().map(|name| (name.clone(), xattr::get(file, &name).unwrap()));
    (meta.uid(), meta.gid(), meta.mode(), attributes.collect())
}
