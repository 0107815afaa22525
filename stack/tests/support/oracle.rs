//! A layer beside the same image as the kernel has mounted it: everything that a program can see of either must be equal.

// A binary that has `support` too has this file twice.
#[allow(clippy::duplicate_mod)]
#[path = "chance.rs"]
mod chance;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use condatainer_formats::ext::FileType;
use condatainer_stack::layer::{Attributes, Key, Layer, Time};
use nix::errno::Errno;
use nix::unistd::{Whence, lseek64};
use tempfile::TempDir;

/// Files up to this size are compared whole.
const WHOLE: u64 = 64 << 20;

/// An image mounted by the kernel through a loop device, for reading; unmounted when dropped.
pub struct Mounted(TempDir);

impl Mounted {
    /// Fails loudly where that is impossible: a test that needs the kernel's word must not pass without it.
    pub fn new(image: &Path) -> Self {
        let at = tempfile::tempdir().unwrap();
        let output = Command::new("mount").args(["-o", "loop,ro"]).arg(image).arg(at.path()).output().unwrap();
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "THE KERNEL CANNOT MOUNT IMAGES HERE (root and loop devices are needed): {why}"
        );
        Self(at)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mounted {
    /// A process that a test in another thread is just starting holds our open directories until its exec: the mount is busy then.
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(120);
        while !Command::new("umount").arg(self.path()).output().is_ok_and(|output| output.status.success()) {
            if Instant::now() >= deadline {
                assert!(thread::panicking(), "umount failed");
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// How much was compared.
#[derive(Debug, Default)]
pub struct Seen {
    pub names: usize,
    pub holes: usize,
    pub kinds: BTreeSet<&'static str>,
    pub xattrs: usize,
    pub links: usize,
}

/// Fails unless `layer` has what lies at `at`, and nothing else.
pub fn assert_same(layer: &dyn Layer, at: &Path, label: &str) -> Seen {
    let (mut pending, mut seen, mut files) = (vec![(layer.root(), at.to_owned())], Seen::default(), Vec::new());
    let (mut keys, mut numbers) = (HashMap::new(), HashMap::new());
    while let Some((key, path)) = pending.pop() {
        let meta = path.symlink_metadata().unwrap();
        let label = format!("{label}: {}", path.strip_prefix(at).unwrap().display());
        let attributes = layer.attributes(key).unwrap();
        assert_eq!(attributes, shown(&meta), "{label}");
        // One inode here is one inode there.
        seen.links += usize::from(keys.contains_key(&key));
        assert_eq!(*keys.entry(key).or_insert(meta.ino()), meta.ino(), "{label}");
        assert_eq!(*numbers.entry(meta.ino()).or_insert(key), key, "{label}");
        seen.names += 1;
        seen.kinds.insert(attributes.kind.describe());
        seen.xattrs += assert_xattrs(layer, key, &path, &label);
        match attributes.kind {
            FileType::Directory => pending.extend(assert_names(layer, key, &path, &label)),
            FileType::Symlink => {
                assert_eq!(
                    layer.target(key).unwrap(),
                    fs::read_link(&path).unwrap().into_os_string().into_vec(),
                    "{label}"
                );
            }
            FileType::Regular => {
                let file = File::open(&path).unwrap();
                assert_content(layer, key, &file, meta.size(), &label);
                seen.holes += assert_holes(layer, key, &file, meta.size(), &label);
                if meta.size() > 0 && files.len() < 500 {
                    files.push((key, file, meta.size()));
                }
            }
            _ => {}
        }
    }
    assert_at_random(layer, &files, label);
    seen
}

/// What stat(2) told.
fn shown(meta: &fs::Metadata) -> Attributes {
    let time = |seconds, nanoseconds: i64| Time { seconds, nanoseconds: nanoseconds as u32 };
    let kind = meta.file_type();
    let kind = match () {
        () if kind.is_dir() => FileType::Directory,
        () if kind.is_symlink() => FileType::Symlink,
        () if kind.is_char_device() => FileType::CharDevice,
        () if kind.is_block_device() => FileType::BlockDevice,
        () if kind.is_fifo() => FileType::Fifo,
        () if kind.is_socket() => FileType::Socket,
        () => FileType::Regular,
    };
    let is_device = matches!(kind, FileType::CharDevice | FileType::BlockDevice);
    let part = |of: fn(u64) -> u64| if is_device { of(meta.rdev()) as u32 } else { 0 };
    Attributes {
        kind,
        mode: (meta.mode() & 0o7777) as u16,
        ids: condatainer_formats::ext::Ids { uid: meta.uid(), gid: meta.gid() },
        size: meta.size(),
        blocks: meta.blocks(),
        links: meta.nlink() as u32,
        device: (part(nix::sys::stat::major), part(nix::sys::stat::minor)),
        accessed: time(meta.atime(), meta.atime_nsec()),
        modified: time(meta.mtime(), meta.mtime_nsec()),
        changed: time(meta.ctime(), meta.ctime_nsec()),
    }
}

fn assert_names(layer: &dyn Layer, directory: Key, path: &Path, label: &str) -> Vec<(Key, PathBuf)> {
    let theirs: BTreeSet<Vec<u8>> = fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name().into_vec()).collect();
    let (mut ours, mut again) = (BTreeMap::new(), Vec::new());
    let mut visit = |entry: condatainer_stack::layer::Entry<'_>| {
        assert!(entry.kind.is_none_or(|kind| kind == layer.attributes(entry.key).unwrap().kind), "{label}");
        assert_eq!(ours.insert(entry.name.to_vec(), entry.key), None, "{label}");
        true
    };
    layer.entries(directory, &mut visit).unwrap();
    assert_eq!(ours.keys().cloned().collect::<BTreeSet<_>>(), theirs, "{label}");
    // It ends when it is told to.
    let half = ours.len().div_ceil(2);
    let mut visit = |entry: condatainer_stack::layer::Entry<'_>| {
        again.push(entry.key);
        again.len() < half
    };
    layer.entries(directory, &mut visit).unwrap();
    assert_eq!(again.len(), half, "{label}");
    ours.into_iter().map(|(name, key)| (key, path.join(std::ffi::OsStr::from_bytes(&name)))).collect()
}

fn assert_xattrs(layer: &dyn Layer, key: Key, path: &Path, label: &str) -> usize {
    let names = xattr::list(path);
    // An image without any has no table of them.
    let names = if names.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::Unsupported) {
        None
    } else {
        Some(names.unwrap())
    };
    let theirs: BTreeMap<Vec<u8>, Vec<u8>> = names
        .into_iter()
        .flatten()
        .map(|name| (name.as_bytes().to_vec(), xattr::get(path, &name).unwrap().unwrap()))
        .collect();
    let ours = layer.xattrs(key).unwrap();
    assert!(ours.is_empty() || layer.may_have_xattrs(), "{label}");
    assert_eq!(ours.into_iter().map(|x| (x.name, x.value)).collect::<BTreeMap<_, _>>(), theirs, "{label}");
    theirs.len()
}

/// In pieces of a length that fits nothing, and past the end.
fn assert_content(layer: &dyn Layer, key: Key, file: &File, size: u64, label: &str) {
    // Longer than a small file, but not by much: most files are small.
    let piece = (size + 100).min(100_003);
    let mut ours = vec![0xAA; piece as usize];
    let mut theirs = ours.clone();
    let mut at = 0;
    while at < size.min(WHOLE) {
        let length = layer.read(key, at, &mut ours).unwrap();
        assert_eq!(length as u64, (size - at).min(piece), "{label} at {at}");
        file.read_exact_at(&mut theirs[..length], at).unwrap();
        assert!(ours[..length] == theirs[..length], "{label} at {at}");
        at += length as u64;
    }
    assert_eq!(layer.read(key, size, &mut ours).unwrap(), 0, "{label}");
    assert_eq!(layer.read(key, u64::MAX, &mut ours).unwrap(), 0, "{label}");
    assert_eq!(layer.read(key, 0, &mut []).unwrap(), 0, "{label}");
}

/// Where the kernel tells holes, they are the same; where it does not, what we call a hole has zeros.
fn assert_holes(layer: &dyn Layer, key: Key, file: &File, size: u64, label: &str) -> usize {
    let theirs = |at: u64, whence| match lseek64(file, at as i64, whence) {
        Ok(found) => Some(found as u64),
        Err(Errno::ENXIO) => None,
        Err(error) => panic!("{label}: {error}"),
    };
    let is_told = theirs(0, Whence::SeekHole) != Some(size) || theirs(0, Whence::SeekData).is_none();
    let (mut at, mut hole, mut count) = (0, true, 0);
    while at < size {
        let ours = layer.seek(key, at, hole).unwrap();
        if is_told {
            let whence = if hole { Whence::SeekHole } else { Whence::SeekData };
            assert_eq!(ours, theirs(at, whence), "{label}: {hole} from {at}");
            assert_eq!(layer.seek(key, at + 1, hole).unwrap(), theirs(at + 1, whence), "{label}: {hole} from {at} + 1");
        }
        let next = ours.unwrap_or(size);
        if !hole && next > at {
            let mut zeros = vec![1; (next - at).min(1 << 20) as usize];
            file.read_exact_at(&mut zeros, at).unwrap();
            assert!(zeros.iter().all(|byte| *byte == 0), "{label}: no hole at {at}");
            count += 1;
        }
        (at, hole) = (next, !hole);
    }
    assert_eq!(layer.seek(key, size, hole).unwrap(), None, "{label}");
    count
}

/// Four threads at once, at offsets and of lengths that are always the same.
fn assert_at_random(layer: &dyn Layer, files: &[(Key, File, u64)], label: &str) {
    let wrong = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for number in 0..4_u64 {
            let wrong = &wrong;
            scope.spawn(move || {
                let mut dice = Dice(0x9E37_79B9_7F4A_7C15 ^ number << 32);
                let (mut ours, mut theirs) = (vec![1; 300_000], vec![2; 300_000]);
                for _ in 0..chance::runs(50) {
                    let (key, file, size) = &files[dice.below(files.len() as u64) as usize];
                    let (at, length) = (dice.below(*size), dice.below(300_000) as usize);
                    let (ours, theirs) = (&mut ours[..length], &mut theirs[..length]);
                    let count = layer.read(*key, at, ours).unwrap();
                    assert_eq!(count as u64, (size - at).min(length as u64));
                    file.read_exact_at(&mut theirs[..count], at).unwrap();
                    if ours[..count] != theirs[..count] {
                        wrong.lock().unwrap().push((*key, at, length));
                    }
                }
            });
        }
    });
    assert_eq!(wrong.into_inner().unwrap(), [], "{label}");
}

/// Numbers that are always the same.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
