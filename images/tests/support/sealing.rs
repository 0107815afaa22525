//! What the tests of sealing share: images to be sealed, and the layer beside the image.
// A failing preparation is a failing test; every test binary uses its own part of this.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use condatainer_formats::ext::Ids;
use condatainer_images::verbs::seal::{Report, Request, seal};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use crate::seen::{Tree, assert_same, same_contents, shown};
use crate::support::{Bench, Mounted, bytes_of, ok, populate, rich_tree};

pub fn request(bench: &Bench, image: &Path) -> Request {
    Request::new(image.into(), bench.path("layer.sqf"))
}

pub fn run(request: &Request) -> Report {
    seal(request, &mut |_, _| ControlFlow::Continue(())).unwrap_or_else(|e| panic!("{e}"))
}

/// Why it is refused; nothing is left or changed beside the image, and the image is as it was.
pub fn refusal(bench: &Bench, request: &Request) -> String {
    let (files, bytes) = (names(bench.dir.path()), bytes_of(&request.image));
    let error = seal(request, &mut |_, _| ControlFlow::Continue(())).expect_err("it must be refused").to_string();
    assert_eq!(names(bench.dir.path()), files, "{error}");
    assert!(bytes_of(&request.image) == bytes, "a refused image was changed");
    assert!(!error.contains('\n'), "{error}");
    error
}

pub fn names(directory: &Path) -> BTreeSet<PathBuf> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Names that are hard to get through a tar archive.
pub fn odd_names(upper: &Path) {
    let odd: [&[u8]; 8] =
        [b"new\nline", b"quo'te\"s", b"back\\slash", b"\xff\xfe not utf-8", b" ", b"*?[x]", b"-n", b"..."];
    let long = [vec![b'n'; 255], vec![b'c'; 100], vec![b'd'; 101], vec![b'e'; 99]];
    for name in odd.into_iter().chain(long.iter().map(Vec::as_slice)) {
        fs::write(upper.join(OsStr::from_bytes(name)), name).unwrap();
    }
    let mut deep = upper.to_owned();
    for _ in 0..12 {
        deep.push("p".repeat(250));
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("bottom"), "deep").unwrap();
    fs::hard_link(deep.join("bottom"), upper.join("zz-hard-link-to-deep")).unwrap();
    for (name, target) in [("abs", "/etc/x"), ("up", "../../x"), ("here", "./x"), ("longer", &"/y".repeat(400)[..])] {
        symlink(target, upper.join(name)).unwrap();
    }
}

/// The tree that a layer must show: the image's own, with whiteouts as devices.
pub fn expected(image: &Tree) -> Tree {
    let mut all = image.clone();
    let wanted = |path: &[u8]| !path.rsplit(|byte| *byte == b'/').next().unwrap().starts_with(b".wh.");
    all.retain(|path, shown| wanted(path) && shown.mode & 0o170_000 != 0o140_000);
    for shown in all.values_mut() {
        shown.mtime = shown.mtime.clamp(0, u32::MAX.into());
        shown.xattrs.retain(|name, _| {
            !name.starts_with(b"system.") && !name.starts_with(b"trusted.overlay.") && !name.contains(&b'=')
        });
    }
    all
}

/// Mode and owner of a whiteout mean nothing.
pub fn take_whiteouts(tree: &mut Tree) -> BTreeSet<Vec<u8>> {
    let hides = |tree: &Tree, path: &Vec<u8>| tree[path].mode & 0o170_000 == 0o020_000 && tree[path].device == 0;
    let all: BTreeSet<_> = tree.keys().filter(|path| hides(tree, path)).cloned().collect();
    tree.retain(|path, _| !all.contains(path));
    all
}

/// Seals and compares; gives the whiteouts of the layer.
pub fn assert_sealed(bench: &Bench, request: &Request, label: &str) -> (Report, BTreeSet<Vec<u8>>) {
    let report = run(request);
    let (image, layer) = (Mounted::new(&request.image, "ro"), Mounted::new(&request.layer, "ro"));
    let (upper, layer) = (image.at.path().join("upper"), layer.at.path());
    let (mut wanted, mut found) = (expected(&shown(&upper)), shown(layer));
    take_whiteouts(&mut wanted);
    let whiteouts = take_whiteouts(&mut found);
    root_as_old_tools_make_it(&mut wanted, &mut found, &report);
    assert_same(&wanted, &found, label);
    same_contents(&found, &upper, layer);
    assert!(!bench.dir.path().read_dir().unwrap().any(|e| e.unwrap().file_name().as_bytes().ends_with(b".new")));
    (report, whiteouts)
}

/// Before 4.6 mksquashfs takes neither time nor attributes for the root, and the owner only where everything has the same.
pub fn root_as_old_tools_make_it(wanted: &mut Tree, found: &mut Tree, report: &Report) {
    let (wanted, found) = (wanted.get_mut(&b""[..]).unwrap(), found.get_mut(&b""[..]).unwrap());
    let said = ok(Command::new("mksquashfs").arg("-version").output().unwrap(), "mksquashfs -version");
    if said.contains("version 4.5") {
        (found.mtime, found.xattrs) = (wanted.mtime, wanted.xattrs.clone());
    }
    if !report.root_owner_kept {
        found.ids = wanted.ids;
    }
}

/// An image with every kind of file in it.
pub fn rich(bench: &Bench, name: &str, options: &[&str]) -> PathBuf {
    let tree = bench.path("rich.tree");
    if !tree.exists() {
        rich_tree(&tree);
    }
    let image = bench.image_of(&format!("{name}.img"), options, 64, &tree);
    populate(&image, Ids { uid: 3_000_000_000, gid: 70_001 });
    let mounted = Mounted::new(&image, "rw");
    let upper = mounted.at.path().join("upper");
    odd_names(&upper);
    let (mode, device) = (Mode::from_bits_truncate(0o660), makedev(259, 70_000));
    mknod(&upper.join("disk"), SFlag::S_IFBLK, mode, device).unwrap();
    fs::hard_link(upper.join("disk"), upper.join("opt/disk")).unwrap();
    mknod(&upper.join("opt/socket"), SFlag::S_IFSOCK, mode, 0).unwrap();
    File::open(upper.join("usr/bin/sudo")).unwrap().set_modified(UNIX_EPOCH + Duration::new(1_234_567_890, 5)).unwrap();
    drop(mounted);
    image
}

/// A base with nothing in it.
pub fn empty(bench: &Bench) -> PathBuf {
    let base = bench.path("empty");
    fs::create_dir_all(&base).unwrap();
    base
}

pub fn fill(root: &Path, files: &[&str]) {
    for file in files {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
}

/// An image as fuse-overlayfs leaves it: opt/new replaces a directory, and so on.
pub fn with_marks(bench: &Bench) -> PathBuf {
    let tree = bench.path("marks.tree");
    let upper = tree.join("upper");
    fill(
        &upper,
        &[
            "opt/new/.wh..wh..opq",
            "opt/new/mine",
            "opt/new/sub/mine",
            "opt/new/only/mine",
            "opt/new/file/mine",
            "opt/.wh.gone",
        ],
    );
    fill(
        &upper,
        &[
            "both/.wh.file",
            "both/file",
            "both/.wh.dir",
            "both/dir/mine",
            "fresh/.wh..wh..opq",
            "fresh/.wh.x",
            "fresh/y",
        ],
    );
    fs::create_dir_all(tree.join("work")).unwrap();
    bench.image_of("marks.img", &["-t", "ext3"], 16, &tree)
}

pub fn base_for_marks(bench: &Bench) -> PathBuf {
    let base = bench.path("base");
    fill(
        &base,
        &[
            "opt/gone",
            "opt/new/old",
            "opt/new/mine",
            "opt/new/sub/old",
            "opt/new/file",
            "opt/new/sub/deep/old",
            "both/file",
            "both/dir/old",
        ],
    );
    base
}
