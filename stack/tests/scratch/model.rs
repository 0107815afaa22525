//! Random operations on two directories at once: ours, and one of the kernel's own, which must not differ in anything that a program can see.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{
    DirBuilderExt, DirEntryExt, FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt,
};
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use rustix::fs::{
    self as sys, AtFlags, CWD, FallocateFlags, FileType, Mode, RenameFlags, Timespec, Timestamps, XattrFlags,
};

use super::chance;

const NAMES: [&str; 9] = ["a", "b", "c", "d", "d/a", "d/b", "d/e", "d/e/a", "e"];

/// One operation. A name is a place in [`NAMES`].
#[derive(Debug, Clone)]
enum Op {
    Create(usize, u32),
    MakeDirectory(usize, u32),
    Special(usize, bool),
    Symlink(usize, usize),
    Link(usize, usize),
    Unlink(usize),
    RemoveDirectory(usize),
    Rename(usize, usize, u32),
    Write(usize, u64, usize, u8),
    Append(usize, usize, u8),
    Read(usize, u64, usize),
    Cut(usize, u64),
    CutOnOpen(usize),
    Allocate(usize, u32, u64, u64),
    Mode(usize, u32),
    Owner(usize, u32, u32),
    Times(usize, i64, Option<i64>),
    SetXattr(usize, u8, usize, u32),
    GetXattr(usize, u8),
    RemoveXattr(usize, u8),
    Hold(usize),
    WriteHeld(usize, u64, usize, u8),
    CutHeld(usize, u64),
    ReadHeld(usize),
    Stat(usize),
}

/// What the run may do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowed {
    pub(crate) root: bool,
    pub(crate) overlay: bool,
    /// Whether fallocate(2) does more than make holes, as it does not on the kernel's ext3.
    pub(crate) allocates: bool,
    /// Whether what a run has made stays.
    pub(crate) keeps: bool,
    /// Whether a listing has the numbers of directories; not in a kernel's overlay of two file systems.
    pub(crate) numbers: bool,
    /// Whether a file says how many names it has. One of a layer counts those, too, that were taken away in an earlier session, as in the kernel's overlay.
    pub(crate) links: bool,
}

fn operations(allowed: Allowed) -> impl Strategy<Value = Vec<Op>> {
    use Op::*;
    let name = || 0..NAMES.len();
    let at = || prop_oneof![0..9000_u64, Just(4096), Just(0), 0..70_000_u64, Just(1 << 21)];
    let len = || prop_oneof![1..5000_usize, Just(4096), 1..50_000_usize, Just(400_000)];
    // Root's writes keep set-user-ID on the host, where the kernel asks no file system for it; a user's do not.
    let bits = if allowed.root { 0o777_u32 } else { 0o6777 };
    let mode = move || any::<u32>().prop_map(move |mode| mode & bits | 0o600);
    let directory = || any::<u32>().prop_map(|mode| mode & 0o3777 | 0o700);
    let flags = if allowed.root { 8 } else { 3_u32 };
    let make = prop_oneof![
        4 => (name(), mode()).prop_map(|(a, b)| Create(a, b)),
        3 => (name(), directory()).prop_map(|(a, b)| MakeDirectory(a, b)),
        1 => (name(), any::<bool>()).prop_map(|(a, b)| Special(a, b)),
        1 => (name(), name()).prop_map(|(a, b)| Symlink(a, b)),
        2 => (name(), name()).prop_map(|(a, b)| Link(a, b)),
        2 => name().prop_map(Unlink),
        2 => name().prop_map(RemoveDirectory),
        5 => (name(), name(), 0..flags).prop_map(|(a, b, c)| Rename(a, b, c)),
    ];
    let content = prop_oneof![
        6 => (name(), at(), len(), any::<u8>()).prop_map(|(a, b, c, d)| Write(a, b, c, d)),
        2 => (name(), len(), any::<u8>()).prop_map(|(a, b, c)| Append(a, b, c)),
        2 => (name(), at(), len()).prop_map(|(a, b, c)| Read(a, b, c)),
        3 => (name(), at()).prop_map(|(a, b)| Cut(a, b)),
        1 => name().prop_map(CutOnOpen),
        3 => (name(), 0..4_u32, at(), 1..20_000_u64).prop_map(|(a, b, c, d)| Allocate(a, b, c, d)),
        2 => name().prop_map(Hold),
        2 => (any::<usize>(), at(), len(), any::<u8>()).prop_map(|(a, b, c, d)| WriteHeld(a, b, c, d)),
        1 => (any::<usize>(), at()).prop_map(|(a, b)| CutHeld(a, b)),
        1 => any::<usize>().prop_map(ReadHeld),
    ];
    let says = prop_oneof![
        2 => (name(), mode()).prop_map(|(a, b)| Mode(a, b)),
        2 => (name(), 0..3_u32, 0..3_u32).prop_map(|(a, b, c)| Owner(a, b, c)),
        1 => (name(), -999..999_i64, prop::option::of(-999..999_i64)).prop_map(|(a, b, c)| Times(a, b, c)),
        2 => (name(), 0..3_u8, 0..600_usize, 0..3_u32).prop_map(|(a, b, c, d)| SetXattr(a, b, c, d)),
        1 => (name(), 0..3_u8).prop_map(|(a, b)| GetXattr(a, b)),
        1 => (name(), 0..3_u8).prop_map(|(a, b)| RemoveXattr(a, b)),
        2 => name().prop_map(Stat),
    ];
    prop::collection::vec(prop_oneof![3 => make, 4 => content, 2 => says], 1..80)
}

/// Compares `cases` random runs.
pub(crate) fn compare(ours: &Path, oracle: &Path, cases: u32, allowed: Allowed) {
    let seed = chance::seed();
    let rng_seed = RngSeed::Fixed(seed);
    let config = Config { cases, rng_seed, failure_persistence: None, max_shrink_iters: 600, ..Config::default() };
    let number = Cell::new(0);
    let result = TestRunner::new(config).run(&operations(allowed), |operations| {
        number.set(number.get() + 1);
        let roots = [ours, oracle].map(|root| root.join(format!("run{}", number.get())));
        // Some have something in them from the beginning.
        roots.iter().filter(|root| !root.exists()).for_each(|root| fs::create_dir(root).unwrap());
        let [mine, theirs] = [0, 1].map(|side| tree(&roots[side], allowed));
        prop_assert_eq!(mine, theirs, "before the first step");
        let mut held = [Vec::new(), Vec::new()];
        for (step, op) in operations.iter().enumerate() {
            let [mine, theirs] = [0, 1].map(|side| apply(&roots[side], op, &mut held[side], allowed));
            if !theirs.contains("OPNOTSUPP") {
                prop_assert_eq!(&mine, &theirs, "step {} {:?}", step, op);
            }
            let [mine, theirs] = [0, 1].map(|side| tree(&roots[side], allowed));
            prop_assert_eq!(&mine, &theirs, "after step {} {:?}", step, op);
        }
        drop(held);
        if !allowed.keeps {
            roots.iter().for_each(|root| fs::remove_dir_all(root).unwrap());
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("seed {seed}: {error}");
    }
}

fn shown<T: Debug, E: Into<std::io::Error>>(result: Result<T, E>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => {
            let error: std::io::Error = error.into();
            format!("{:?}", nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or(0)))
        }
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    // On our mount no device can be opened, wherever the host lets a user do that.
    if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_char_device()) {
        return Err(std::io::Error::from_raw_os_error(libc::ENXIO));
    }
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    File::options().read(true).write(true).custom_flags(flags).open(path)
}

fn checksum(bytes: &[u8]) -> (usize, u64) {
    (
        bytes.len(),
        bytes
            .iter()
            .fold(14_695_981_039_346_656_037, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(1_099_511_628_211)),
    )
}

fn apply(root: &Path, op: &Op, held: &mut Vec<File>, allowed: Allowed) -> String {
    let at = |name: &usize| root.join(NAMES[*name]);
    let old =
        |held: &Vec<File>, which: &usize| held.get(which % held.len().max(1)).map(|file| file.try_clone().unwrap());
    match op {
        Op::Create(name, mode) => {
            let mut options = File::options();
            options.write(true).create_new(true).mode(*mode);
            shown(options.open(at(name)).map(drop))
        }
        Op::MakeDirectory(name, mode) => shown(fs::DirBuilder::new().mode(*mode).create(at(name))),
        Op::Special(name, device) if *device && !allowed.overlay => {
            shown(sys::mknodat(CWD, at(name), FileType::CharacterDevice, Mode::from(0o600), 0))
        }
        Op::Special(name, _) => shown(sys::mknodat(CWD, at(name), FileType::Fifo, Mode::from(0o640), 0)),
        Op::Symlink(name, target) => shown(std::os::unix::fs::symlink(NAMES[*target], at(name))),
        Op::Link(from, to) => shown(fs::hard_link(at(from), at(to))),
        Op::Unlink(name) => shown(fs::remove_file(at(name))),
        Op::RemoveDirectory(name) => shown(fs::remove_dir(at(name))),
        Op::Rename(from, to, flags) => {
            shown(sys::renameat_with(CWD, at(from), CWD, at(to), RenameFlags::from_bits_retain(*flags)))
        }
        Op::Write(name, offset, len, byte) => {
            shown(open(&at(name)).and_then(|file| file.write_at(&vec![*byte; *len], *offset)))
        }
        Op::Append(name, len, byte) => {
            let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
            let file = open(&at(name)).and_then(|_| File::options().append(true).custom_flags(flags).open(at(name)));
            shown(file.and_then(|mut file| std::io::Write::write(&mut file, &vec![*byte; *len])))
        }
        Op::Read(name, offset, len) => {
            let mut buf = vec![0; *len];
            shown(open(&at(name)).and_then(|file| file.read_at(&mut buf, *offset)).map(|len| checksum(&buf[..len])))
        }
        Op::Cut(name, size) => shown(open(&at(name)).and_then(|file| file.set_len(*size))),
        Op::CutOnOpen(name) => {
            let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
            let file = open(&at(name));
            let cut = |_| File::options().write(true).truncate(true).custom_flags(flags).open(at(name));
            shown(file.and_then(cut).map(drop))
        }
        Op::Allocate(name, how, offset, len) => {
            let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            let all = [FallocateFlags::empty(), FallocateFlags::KEEP_SIZE, hole, FallocateFlags::ZERO_RANGE];
            let how = if allowed.allocates { all[*how as usize] } else { hole };
            shown(open(&at(name)).and_then(|file| Ok(sys::fallocate(&file, how, *offset, *len)?)))
        }
        Op::Mode(name, mode) => {
            let path = at(name);
            // chmod(2) follows links.
            let is_directory = fs::metadata(&path).is_ok_and(|found| found.is_dir());
            // Of a directory nobody may lose his own access, or the run could not go on.
            let mode = if is_directory { mode & 0o3777 | 0o700 } else { *mode };
            shown(sys::chmodat(CWD, path, Mode::from_raw_mode(mode), AtFlags::empty()))
        }
        Op::Owner(name, uid, gid) if allowed.root => {
            shown(std::os::unix::fs::lchown(at(name), uid.checked_sub(1).map(|uid| uid * 7), gid.checked_sub(1)))
        }
        Op::Owner(name, ..) => shown(std::os::unix::fs::lchown(at(name), None, Some(nix::unistd::getgid().as_raw()))),
        Op::Times(name, accessed, modified) => {
            let time = |seconds: i64| Timespec { tv_sec: seconds, tv_nsec: 5 };
            let omit = Timespec { tv_sec: 0, tv_nsec: sys::UTIME_OMIT as _ };
            let times = Timestamps { last_access: time(*accessed), last_modification: modified.map_or(omit, time) };
            let path = at(name);
            let done = sys::utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW);
            shown(done.map_err(std::io::Error::from).and_then(|()| Ok(fs::symlink_metadata(path)?.atime())))
        }
        Op::SetXattr(name, which, len, flags) => {
            let value = vec![b'x'; *len];
            shown(sys::lsetxattr(at(name), format!("user.n{which}"), &value, XattrFlags::from_bits_retain(*flags)))
        }
        Op::GetXattr(name, which) => {
            let mut value = vec![0; 1000];
            shown(sys::lgetxattr(at(name), format!("user.n{which}"), &mut value))
        }
        Op::RemoveXattr(name, which) => shown(sys::lremovexattr(at(name), format!("user.n{which}"))),
        Op::Hold(name) => shown(open(&at(name)).map(|file| held.push(file))),
        Op::WriteHeld(which, offset, len, byte) => {
            shown(old(held, which).map(|file| file.write_at(&vec![*byte; *len], *offset)).transpose())
        }
        Op::CutHeld(which, size) => shown(old(held, which).map(|file| file.set_len(*size)).transpose()),
        Op::ReadHeld(which) => shown(old(held, which).map(|mut file| read_whole(&mut file)).transpose()),
        Op::Stat(name) => shown(fs::symlink_metadata(at(name)).map(|found| says(&found, allowed))),
    }
}

fn read_whole(file: &mut File) -> std::io::Result<((usize, u64), u64)> {
    let mut buf = vec![0; file.metadata()?.len() as usize];
    let len = file.read_at(&mut buf, 0)?;
    Ok((checksum(&buf[..len]), file.metadata()?.nlink()))
}

fn says(found: &fs::Metadata, allowed: Allowed) -> String {
    let (kind, mode) = (found.file_type(), found.permissions().mode());
    // The kernel's overlay does not count the directories in one; and what a directory's size is is nobody's business.
    let links = if kind.is_dir() && allowed.overlay || !allowed.links { 0 } else { found.nlink() };
    let size = if kind.is_dir() { 0 } else { found.len() };
    // Where the disk has whole seconds a workspace counts the writes to a file with several names there.
    let part = if allowed.allocates { found.mtime_nsec() } else { 0 };
    let set = if found.mtime() < 1000 { Some((found.mtime(), part)) } else { None };
    let device = if kind.is_char_device() { found.rdev() } else { 0 };
    format!("{mode:o} {}:{} {links} {size} {set:?} {device}", found.uid(), found.gid())
}

/// What a program can see of a directory, by path.
pub(crate) fn tree(root: &Path, allowed: Allowed) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    collect(root, "", allowed, &mut all);
    all
}

fn collect(directory: &Path, prefix: &str, allowed: Allowed, all: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let (path, name) = (entry.path(), format!("{prefix}{}", entry.file_name().to_str().unwrap()));
        let found = fs::symlink_metadata(&path).unwrap();
        let kind = found.file_type();
        assert_eq!(entry.file_type().unwrap(), kind, "{name} in a listing");
        // A file that has had several names may be listed with another number than it shows.
        assert!(entry.ino() == found.ino() || !kind.is_dir() || !allowed.numbers, "{name} in a listing");
        let content = if kind.is_file() {
            let mut content = Vec::new();
            // A file that its owner may not read is read by nobody here.
            File::open(&path).and_then(|mut file| file.read_to_end(&mut content)).map(|_| checksum(&content)).ok()
        } else if kind.is_symlink() {
            Some(checksum(fs::read_link(&path).unwrap().as_os_str().as_bytes()))
        } else {
            None
        };
        let mut names = vec![0; 1000];
        let len = sys::llistxattr(&path, &mut names).unwrap();
        let mut xattrs: Vec<_> =
            names[..len].split(|byte| *byte == 0).filter(|name| name.starts_with(b"user.n")).collect();
        xattrs.sort_unstable();
        let xattrs: Vec<_> = xattrs.into_iter().map(String::from_utf8_lossy).collect();
        if kind.is_dir() {
            collect(&path, &format!("{name}/"), allowed, all);
        }
        all.insert(name, format!("{} {content:?} {xattrs:?}", says(&found, allowed)));
    }
}
