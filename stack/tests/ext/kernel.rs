//! A tree as the kernel shows it, and mounts of images.

use std::fs::{self, File};
use std::hash::Hasher;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use condatainer_formats::ext::FileType;
use nix::sys::stat::{major, minor};
use nix::unistd::{Whence, lseek};
use rustc_hash::FxHasher;
use tempfile::TempDir;

use crate::seen::{Seen, Tree, places};
use crate::tool::tool;

/// An image mounted through a loop device; unmounted when dropped.
pub struct Mounted {
    pub at: TempDir,
}

impl Mounted {
    /// Fails loudly where that is impossible: a test that needs the kernel's word must not pass without it.
    pub fn new(image: &Path, options: &str) -> Self {
        let at = tempfile::tempdir().unwrap();
        let mut command = Command::new("mount");
        command.args(["-o", &format!("loop,{options}")]).arg(image).arg(at.path());
        ok(command.output().unwrap(), "THE KERNEL CANNOT MOUNT IMAGES HERE (root and loop devices are needed)");
        Self { at }
    }

    pub fn path(&self) -> &Path {
        self.at.path()
    }
}

/// A process that a test in another thread is just starting holds our open directories until its exec: the mount is busy then.
impl Drop for Mounted {
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(120);
        while !Command::new("umount").arg(self.at.path()).output().is_ok_and(|output| output.status.success()) {
            if Instant::now() >= deadline {
                assert!(std::thread::panicking(), "umount failed");
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A directory for images: in memory where that can be had, for a disk is not what this is about.
pub fn bench() -> TempDir {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() { tempfile::tempdir_in(shared).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// The output of a program that must succeed.
pub fn ok(output: Output, what: &str) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{what}: {}\n{text}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    text
}

/// A sparse file of so many megabytes, formatted by mke2fs.
pub fn format(image: &Path, options: &[&str], megabytes: u64) {
    File::create(image).unwrap().set_len(megabytes << 20).unwrap();
    let output = tool("mke2fs").args(["-q", "-F"]).args(options).arg(image).output().unwrap();
    ok(output, &format!("mke2fs {options:?}"));
}

/// All of the tree below `root`, which must not change meanwhile.
pub fn walk(root: &Path) -> Tree {
    let mut all = Tree::new();
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        let seen = seen(&path);
        if seen.kind == FileType::Directory {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        all.insert(path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec(), seen);
    }
    all
}

fn seen(path: &Path) -> Seen {
    let meta = fs::symlink_metadata(path).unwrap();
    let kind = FileType::from_mode(meta.mode() as u16);
    let file = (kind == FileType::Regular).then(|| File::open(path).unwrap());
    let target = || fs::read_link(path).unwrap().as_os_str().as_bytes().to_vec();
    let mut xattrs: Vec<_> = xattr::list(path)
        .unwrap()
        .map(|name| (name.as_bytes().to_vec(), xattr::get(path, &name).unwrap().unwrap()))
        .collect();
    xattrs.sort();
    Seen {
        ino: meta.ino(),
        kind,
        mode: (meta.mode() & 0o7777) as u16,
        ids: (meta.uid(), meta.gid()),
        links: meta.nlink(),
        size: meta.size(),
        blocks: meta.blocks(),
        device: (major(meta.rdev()), minor(meta.rdev())),
        times: [
            (meta.atime(), meta.atime_nsec()),
            (meta.mtime(), meta.mtime_nsec()),
            (meta.ctime(), meta.ctime_nsec()),
        ],
        target: if kind == FileType::Symlink { target() } else { Vec::new() },
        data: file.as_ref().map(|file| data(file, meta.size())).unwrap_or_default(),
        pieces: file.as_ref().map_or(0, |file| pieces(file, meta.size())),
        xattrs,
        claimed: Some(kind),
    }
}

/// First where it is, then what it is: what was prepared but never written is data for the kernel once it was read.
fn data(file: &File, size: u64) -> Vec<(u64, u64, u64)> {
    let (mut ranges, mut at) = (Vec::new(), 0);
    while at < size {
        let Ok(start) = lseek(file, at as i64, Whence::SeekData) else { break };
        at = lseek(file, start, Whence::SeekHole).unwrap() as u64;
        ranges.push((start as u64, at));
    }
    ranges.into_iter().map(|(start, end)| (start, end, digest(file, start, end))).collect()
}

fn digest(file: &File, mut from: u64, end: u64) -> u64 {
    let (mut digest, mut buf) = (FxHasher::default(), vec![0; (end - from).min(1 << 20) as usize]);
    while from < end {
        let length = (buf.len() as u64).min(end - from) as usize;
        file.read_exact_at(&mut buf[..length], from).unwrap();
        digest.write(&buf[..length]);
        from += length as u64;
    }
    digest.finish()
}

fn pieces(file: &File, size: u64) -> u64 {
    let mut digest = FxHasher::default();
    for (offset, length) in places(size) {
        let mut buf = vec![0; length];
        let mut read = 0;
        while read < length {
            match file.read_at(&mut buf[read..], offset + read as u64).unwrap() {
                0 => break,
                more => read += more,
            }
        }
        digest.write(&buf[..read]);
    }
    digest.finish()
}
