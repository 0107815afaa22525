//! Real images, made at test time with the machine's own e2fsprogs, and debugfs as the oracle.
// Every test binary uses its own part of this, and a failing preparation is a failing test.
#![allow(dead_code, unused_imports, missing_docs, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bytes;
mod content;
mod snapshot;
mod tool;
mod victim;

pub use bytes::{bytes_of, copy};
pub use content::{acl, add_files, contents, memory, moved_contents, names_in, outside};
pub use snapshot::{Seen, snapshot};
pub use tool::tool;
pub use victim::{Victim, end_once, instants, quicker_of_two, some_of, until_seen, victim_command};

pub mod checking;
pub mod overlay;

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use condatainer_formats::ext::{Ids, Window};
use condatainer_images::lock;
use condatainer_images::verbs::chown::{ChownError, Report, Request, chown};
use nix::sys::statvfs::statvfs;
use tempfile::TempDir;

#[allow(unused_imports)]
pub use overlay::{Overlay, Tmpfs, put, whiteout};

/// What the images of a few tests at once take, in bytes.
const ROOM: u64 = 2 << 30;

/// A directory of its own, with images in it.
pub struct Bench {
    pub dir: TempDir,
}

impl Bench {
    /// In memory where there is room: the tests are not about a disk, which is slow to make a file in a directory from which thousands
    /// have just gone, and which every unmounted image has written.
    pub fn new() -> Self {
        let shared = Path::new("/dev/shm");
        let room = statvfs(shared).map_or(0, |says| says.blocks_available() * says.fragment_size());
        if room >= ROOM { Self { dir: tempfile::tempdir_in(shared).unwrap() } } else { Self::on_disk() }
    }

    /// Where temporary files usually are.
    pub fn on_disk() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// An image made by mke2fs with `options`, holding `upper` and `work`.
    pub fn image(&self, name: &str, options: &[&str], megabytes: u64) -> PathBuf {
        let tree = self.tree();
        self.image_of(name, options, megabytes, &tree)
    }

    pub fn image_of(&self, name: &str, options: &[&str], megabytes: u64, tree: &Path) -> PathBuf {
        let path = self.path(name);
        let file = File::create(&path).unwrap();
        file.set_len(megabytes << 20).unwrap();
        let mut command = tool("mke2fs");
        command.args(["-q", "-F", "-E", "root_owner=0:0"]).args(options).arg("-d").arg(tree).arg(&path);
        ok(command.output().unwrap(), &format!("mke2fs {options:?}"));
        path
    }

    /// `upper` and `work` with a few entries below.
    pub fn tree(&self) -> PathBuf {
        let tree = self.path("tree");
        if !tree.exists() {
            fs::create_dir_all(tree.join("upper/ext3/env/bin")).unwrap();
            fs::create_dir_all(tree.join("work/work")).unwrap();
            fs::write(tree.join("upper/ext3/env/bin/python"), "#!/bin/sh\n").unwrap();
        }
        tree
    }
}

pub fn ok(output: Output, what: &str) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {}\n{text}\n{errors}", output.status);
    text
}

/// Runs one request through debugfs.
pub fn debugfs(image: &Path, request: &str) -> String {
    ok(tool("debugfs").args(["-R", request]).arg(image).output().unwrap(), request)
}

/// Changes an image through debugfs.
pub fn debugfs_write(image: &Path, request: &str) {
    let output = tool("debugfs").args(["-w", "-R", request]).arg(image).output().unwrap();
    ok(output, request);
}

/// What e2fsck finds; empty when the image is clean.
pub fn fsck(image: &Path) -> Result<(), String> {
    let output = tool("e2fsck").args(["-fn"]).arg(image).output().unwrap();
    match output.status.code() {
        Some(0) => Ok(()),
        _ => Err(String::from_utf8_lossy(&output.stdout).into_owned()),
    }
}

/// A process that a test in another thread is just starting has our files open until its exec, and an image that is not clean is
/// left alone while anybody has it open.
pub fn attempt(image: &Path, request: &Request) -> Result<Report, ChownError> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match chown(image, request, &mut |_, _| {}) {
            Err(error) if error.to_string().contains("(open in ") && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            other => return other,
        }
    }
}

pub fn whole(path: &Path) -> Window {
    Window::whole(fs::metadata(path).unwrap().size())
}

/// Changes an image through many requests in one run of debugfs.
pub fn debugfs_script(image: &Path, requests: &str) {
    let script = image.with_extension("debugfs");
    fs::write(&script, requests).unwrap();
    let output = tool("debugfs").arg("-w").arg("-f").arg(&script).arg(image).output().unwrap();
    ok(output, "debugfs script");
    fs::remove_file(script).unwrap();
}

/// Owner and mode of a path in the image, as debugfs sees them.
pub fn stat(image: &Path, path: &str) -> (Ids, u16) {
    let text = debugfs(image, &format!("stat \"{path}\""));
    let after = |key: &str| {
        let rest = text.split_once(key).unwrap_or_else(|| panic!("{path}: no {key} in {text}")).1;
        rest.split_whitespace().next().unwrap().to_owned()
    };
    let ids = Ids { uid: after("User:").parse().unwrap(), gid: after("Group:").parse().unwrap() };
    (ids, u16::from_str_radix(&after("Mode:"), 8).unwrap() & 0o7777)
}

/// One line of `dumpe2fs -h`.
pub fn superblock_field(image: &Path, name: &str) -> String {
    let text = ok(tool("dumpe2fs").arg("-h").arg(image).output().unwrap(), "dumpe2fs");
    let line = text.lines().find(|line| line.starts_with(&format!("{name}:")));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).split_once(':').unwrap().1.trim().to_owned()
}

/// Geometries that every part must cope with: a name and mke2fs's options.
pub const GEOMETRIES: &[(&str, &[&str])] = &[
    ("ext3", &["-t", "ext3"]),
    (
        "apptainer-recipe",
        &[
            "-t",
            "ext3",
            "-b",
            "4096",
            "-I",
            "256",
            "-m",
            "0",
            "-O",
            "none,has_journal,ext_attr,resize_inode,dir_index,filetype,sparse_super,large_file",
        ],
    ),
    ("inode128", &["-t", "ext3", "-I", "128"]),
    ("block1024", &["-t", "ext3", "-b", "1024"]),
    ("block2048-inode512", &["-t", "ext3", "-b", "2048", "-I", "512"]),
    ("meta_bg", &["-t", "ext3", "-b", "1024", "-O", "meta_bg,^resize_inode"]),
    ("no-dir_index", &["-t", "ext3", "-O", "^dir_index"]),
    ("no-filetype", &["-t", "ext3", "-O", "^filetype"]),
    ("sparse_super2", &["-t", "ext3", "-O", "sparse_super2,^resize_inode"]),
    ("no-sparse_super", &["-t", "ext3", "-O", "^sparse_super,^resize_inode"]),
    ("small-journal", &["-t", "ext3", "-J", "size=4"]),
    ("ext2", &["-t", "ext2"]),
    ("ext4", &["-t", "ext4"]),
    ("ext4-orphan_file", &["-t", "ext4", "-O", "orphan_file"]),
    ("ext4-no-64bit", &["-t", "ext4", "-O", "^64bit"]),
    ("ext4-uninit_bg", &["-t", "ext4", "-O", "^metadata_csum,uninit_bg"]),
    ("ext4-no-metadata_csum", &["-t", "ext4", "-O", "^metadata_csum"]),
    ("ext4-csum_seed", &["-t", "ext4", "-O", "metadata_csum_seed"]),
    ("ext4-ea_inode", &["-t", "ext4", "-O", "ea_inode"]),
    ("ext4-no-journal", &["-t", "ext4", "-O", "^has_journal"]),
    ("ext4-block1024-inode1024", &["-t", "ext4", "-b", "1024", "-I", "1024"]),
    ("ext4-meta_bg-1k", &["-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode"]),
    ("ext4-no-flex_bg", &["-t", "ext4", "-O", "^flex_bg"]),
    ("ext4-no-extent", &["-t", "ext4", "-O", "^extent,^64bit"]),
];

/// A tree with everything that a chown can meet. Owners are set afterwards, in the image.
pub fn rich_tree(at: &Path) {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    let upper = at.join("upper");
    for dir in ["ext3/env/bin", "usr/bin", "var/cache/man", "var/mail", "many", "opt"] {
        fs::create_dir_all(upper.join(dir)).unwrap();
    }
    fs::create_dir_all(at.join("work/work")).unwrap();
    for file in ["ext3/env/bin/python", "usr/bin/sudo", "var/cache/man/index", "plain", "foreign"] {
        fs::write(upper.join(file), file.repeat(500)).unwrap();
    }
    for i in 0..900 {
        fs::write(upper.join(format!("many/a-name-that-takes-some-room-in-its-directory-{i:04}")), "").unwrap();
    }
    fs::hard_link(upper.join("plain"), upper.join("opt/hard")).unwrap();
    std::os::unix::fs::symlink("/nowhere/at/all", upper.join("dangling")).unwrap();
    std::os::unix::fs::symlink("x".repeat(200), upper.join("long-link")).unwrap();
    let mode = Mode::from_bits_truncate(0o644);
    mknod(&upper.join("whiteout"), SFlag::S_IFCHR, mode, makedev(0, 0)).unwrap();
    mknod(&upper.join("fifo"), SFlag::S_IFIFO, mode, 0).unwrap();
    fuse_whiteout(&upper.join(".wh.deleted"));
    set_mode(&upper.join("usr/bin/sudo"), 0o4755);
    set_mode(&upper.join("var/mail"), 0o2775);
}

/// As fuse-overlayfs makes one.
pub fn fuse_whiteout(path: &Path) {
    fs::write(path, "").unwrap();
    set_mode(path, 0o700);
}

pub fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Gives the tree of [`rich_tree`] in `image` an owner, some foreign ids, and attributes.
pub fn populate(image: &Path, owner: Ids) {
    let Ids { uid, gid } = owner;
    let mut script = String::new();
    for path in snapshot(image).keys().filter(|path| !path.starts_with("/lost+found")) {
        script += &format!("sif {path} uid {uid}\nsif {path} gid {gid}\n");
    }
    script += "sif /upper/var/cache/man uid 6\nsif /upper/var/cache/man gid 12\n";
    script += "sif /upper/var/cache/man/index uid 6\n";
    script += "sif /upper/var/mail gid 8\n";
    script += "sif /upper/foreign uid 100042\nsif /upper/foreign gid 131072\n";
    script += "ea_set /upper/plain user.note remembered\n";
    script += "ea_set /upper/opt trusted.overlay.opaque y\n";
    let acl = image.with_extension("acl");
    // Version 2; user::rw-, user:1000:r--, group::r--, mask::r--, other::---
    let entry =
        |tag: u16, perm: u16, id: u32| [&tag.to_le_bytes()[..], &perm.to_le_bytes(), &id.to_le_bytes()].concat();
    let entries = [entry(1, 6, !0), entry(2, 4, 1000), entry(4, 4, !0), entry(16, 4, !0), entry(32, 0, !0)];
    fs::write(&acl, [2_u32.to_le_bytes().to_vec(), entries.concat()].concat()).unwrap();
    script += &format!("ea_set -f {} /upper/foreign system.posix_acl_access\n", acl.display());
    debugfs_script(image, &script);
    fs::remove_file(acl).unwrap();
}

/// An image mounted by the kernel through a loop device, read-only unless asked otherwise; unmounted when dropped.
pub struct Mounted {
    pub at: TempDir,
    /// Device and inode of the image, where it is one.
    pub image: Option<(u64, u64)>,
}

impl Mounted {
    /// Fails loudly where that is impossible: a test that needs the kernel's word must not pass without it.
    pub fn new(image: &Path, options: &str) -> Self {
        let at = tempfile::tempdir().unwrap();
        let output =
            Command::new("mount").args(["-o", &format!("loop,{options}")]).arg(image).arg(at.path()).output().unwrap();
        assert!(
            output.status.success(),
            "THE KERNEL CANNOT MOUNT IMAGES HERE (root and loop devices are needed): {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let meta = fs::metadata(image).unwrap();
        Self { at, image: Some((meta.dev(), meta.ino())) }
    }

    fn is_unmounted(&self) -> bool {
        Command::new("umount").arg(self.at.path()).output().is_ok_and(|output| output.status.success())
    }

    fn has_loop_device(&self) -> bool {
        self.image.is_some_and(|(dev, ino)| !lock::loops(dev, ino).is_empty())
    }
}

/// A process that a test in another thread is just starting holds our open directories until its exec: the mount is busy then. And
/// the `mount` of another thread looks into all loop devices, which keeps ours a moment longer.
impl Drop for Mounted {
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.is_unmounted() {
            if Instant::now() >= deadline {
                assert!(std::thread::panicking(), "umount failed");
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        while self.has_loop_device() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// One partition of a SIF to be made: file-system code, role code, group, content.
pub struct Part<'a> {
    pub fs: u32,
    pub role: u32,
    pub group: u32,
    pub content: &'a [u8],
}

/// A SIF as Apptainer lays it out: header, 48 descriptors, partitions at page boundaries.
pub fn sif(parts: &[Part<'_>]) -> Vec<u8> {
    const DESCRIPTORS: usize = 48;
    let mut out = vec![0; 4096 + DESCRIPTORS * 585];
    out[..31].copy_from_slice(b"#!/usr/bin/env run-singularity\n");
    out[32..45].copy_from_slice(b"SIF_MAGIC\x0001\0");
    for (at, value) in [(88, DESCRIPTORS as u64), (96, 4096), (104, (DESCRIPTORS * 585) as u64)] {
        out[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    for (i, part) in parts.iter().enumerate() {
        out.resize(out.len().next_multiple_of(4096), 0);
        let (offset, size) = (out.len() as u64, part.content.len() as u64);
        out.extend(part.content);
        let raw = &mut out[4096 + i * 585..4096 + (i + 1) * 585];
        raw[..5].copy_from_slice(&[0x04, 0x40, 0, 0, 1]);
        raw[5..9].copy_from_slice(&(i as u32 + 1).to_le_bytes());
        raw[9..13].copy_from_slice(&(0xf000_0000 | part.group).to_le_bytes());
        raw[17..25].copy_from_slice(&offset.to_le_bytes());
        raw[25..33].copy_from_slice(&size.to_le_bytes());
        raw[201..205].copy_from_slice(&part.fs.to_le_bytes());
        raw[205..209].copy_from_slice(&part.role.to_le_bytes());
    }
    out
}

/// A squashfs of `tree`, made by mksquashfs.
pub fn squashfs(bench: &Bench, tree: &Path) -> Vec<u8> {
    squashfs_with(bench, tree, &[])
}

/// The same, with options of mksquashfs.
pub fn squashfs_with(bench: &Bench, tree: &Path, options: &[&str]) -> Vec<u8> {
    let path = bench.path("making.sqf");
    let mut command = tool("mksquashfs");
    // For a few files neither all processors nor a quarter of the memory.
    let few = ["-processors", "1", "-mem", "64M"];
    command.arg(tree).arg(&path).args(["-quiet", "-no-progress", "-noappend"]).args(few).args(options);
    ok(command.output().unwrap(), "mksquashfs");
    fs::read(path).unwrap()
}
