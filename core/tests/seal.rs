//! Sealing real images: the layer beside the image, both mounted by the kernel.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/seen.rs"]
mod seen;
mod support;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use condatainer_core::ext::Ids;
use condatainer_core::lock::{Access, take};
use condatainer_core::seal::{Compression, Report, Request, SealError, seal};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use seen::{Tree, assert_same, same_contents, shown};
use support::{Bench, GEOMETRIES, Mounted, Part, debugfs_write, fsck, ok, populate, rich_tree, sif, whole};

fn request(bench: &Bench, image: &Path) -> Request {
    Request::new(image.into(), bench.path("layer.sqf"))
}

fn run(request: &Request) -> Report {
    seal(request, &mut |_, _| ControlFlow::Continue(())).unwrap_or_else(|e| panic!("{e}"))
}

/// Why it is refused; nothing is left or changed beside the image, and the image is as it was.
fn refusal(bench: &Bench, request: &Request) -> String {
    let (files, bytes) = (names(bench.dir.path()), fs::read(&request.image).unwrap());
    let error = seal(request, &mut |_, _| ControlFlow::Continue(())).expect_err("it must be refused").to_string();
    assert_eq!(names(bench.dir.path()), files, "{error}");
    assert!(fs::read(&request.image).unwrap() == bytes, "a refused image was changed");
    assert!(!error.contains('\n'), "{error}");
    error
}

fn names(directory: &Path) -> BTreeSet<PathBuf> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Names that are hard to get through a tar archive.
fn odd_names(upper: &Path) {
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
fn expected(image: &Tree) -> Tree {
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
fn take_whiteouts(tree: &mut Tree) -> BTreeSet<Vec<u8>> {
    let hides = |tree: &Tree, path: &Vec<u8>| tree[path].mode & 0o170_000 == 0o020_000 && tree[path].device == 0;
    let all: BTreeSet<_> = tree.keys().filter(|path| hides(tree, path)).cloned().collect();
    tree.retain(|path, _| !all.contains(path));
    all
}

/// Seals and compares; gives the whiteouts of the layer.
fn assert_sealed(bench: &Bench, request: &Request, label: &str) -> (Report, BTreeSet<Vec<u8>>) {
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
fn root_as_old_tools_make_it(wanted: &mut Tree, found: &mut Tree, report: &Report) {
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
fn rich(bench: &Bench, name: &str, options: &[&str]) -> PathBuf {
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

/// How an image is read is tested elsewhere, on every geometry.
const LAYOUTS: [&str; 7] =
    ["apptainer-recipe", "inode128", "block1024", "no-filetype", "ext2", "ext4", "ext4-ea_inode"];

#[test]
fn a_layer_shows_what_the_image_has() {
    let bench = Bench::new();
    for (name, options) in GEOMETRIES.iter().filter(|(name, _)| LAYOUTS.contains(name)) {
        let image = rich(&bench, name, options);
        let request = Request { base: Some(empty(&bench)), ..request(&bench, &image) };
        let (report, whiteouts) = assert_sealed(&bench, &request, name);
        assert_eq!(whiteouts, [&b"deleted"[..], b"whiteout"].map(<[u8]>::to_vec).into(), "{name}");
        assert_eq!((report.acls_dropped, report.sockets_skipped, report.whiteouts), (1, 1, 2), "{name}");
        assert_eq!(fsck(&image), Ok(()), "{name}");
        fs::remove_file(&request.layer).unwrap();
        fs::remove_file(report.environment.unwrap()).unwrap();
        fs::remove_file(image).unwrap();
    }
}

/// A base with nothing in it.
fn empty(bench: &Bench) -> PathBuf {
    let base = bench.path("empty");
    fs::create_dir_all(&base).unwrap();
    base
}

#[test]
fn attributes_of_every_class_come_through() {
    let bench = Bench::new();
    let image = bench.image("xattrs.img", &["-t", "ext3", "-b", "4096"], 32);
    let mounted = Mounted::new(&image, "rw");
    let upper = mounted.at.path().join("upper");
    for i in 0..4 {
        fs::write(upper.join(format!("file{i}")), "x").unwrap();
    }
    symlink("x", upper.join("link")).unwrap();
    let long = vec![b'v'; 2000];
    let all: [(&str, &str, &[u8]); 7] = [
        ("file0", "user.binary", b"\0\n=\xff"),
        ("file0", "user.empty", b""),
        ("file1", "user.long", &long),
        ("file1", "trusted.some", b"t"),
        ("file2", "user.a b\nc", b"odd name"),
        ("link", "trusted.link", b"l"),
        ("ext3", "user.directory", b"d"),
    ];
    for (name, key, value) in all {
        xattr::set(upper.join(name), key, value).unwrap();
    }
    // cap_net_raw=ep, version 2
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    xattr::set(upper.join("file3"), "security.capability", &capability).unwrap();
    xattr::set(upper.join("file3"), "user.equal=sign", b"lost").unwrap();
    drop(mounted);
    let (report, _) = assert_sealed(&bench, &request(&bench, &image), "xattrs");
    assert_eq!(report.xattrs_dropped, 1);
}

#[test]
fn large_holes_stay_holes() {
    let bench = Bench::new();
    let image = bench.image("sparse.img", &["-t", "ext3"], 32);
    let mounted = Mounted::new(&image, "rw");
    let file = |name: &str| File::create(mounted.at.path().join("upper").join(name)).unwrap();
    file("nothing").set_len((100 << 20) + 7).unwrap();
    file("at-the-end").write_all_at(b"end", 100 << 20).unwrap();
    let start = file("at-the-start");
    start.write_all_at(&[b's'; 5000], 0).unwrap();
    start.set_len((100 << 20) + 777).unwrap();
    let many = file("many-pieces");
    (0..60).for_each(|i| many.write_all_at(format!("piece {i}").repeat(700).as_bytes(), i * (3 << 20)).unwrap());
    many.set_len(200 << 20).unwrap();
    let small = file("small-holes");
    (0..9).for_each(|i| small.write_all_at(b"small", i << 20).unwrap());
    drop((start, many, small, mounted));
    let (report, _) = assert_sealed(&bench, &request(&bench, &image), "sparse");
    assert!(report.size_bytes < 64 << 10, "{}", report.size_bytes);
    assert!(report.content_bytes < 2 << 20, "{}", report.content_bytes);
}

/// The merged view of layers, topmost first, by the kernel.
fn merged(layers: &[&Path]) -> Mounted {
    let list: Vec<_> = layers.iter().map(|layer| layer.to_str().unwrap()).collect();
    overlay(&format!("lowerdir={},index=off,redirect_dir=off,metacopy=off", list.join(":")))
}

fn overlay(options: &str) -> Mounted {
    let at = tempfile::tempdir().unwrap();
    let output = Command::new("mount").args(["-t", "overlay", "-o", options, "overlay"]).arg(at.path()).output();
    ok(output.unwrap(), options);
    Mounted { at }
}

fn fill(root: &Path, files: &[&str]) {
    for file in files {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
}

/// What a program sees of a merged tree; inodes and sizes of directories are the mount's own affair.
fn view(at: &Path) -> Tree {
    let mut tree = shown(at);
    tree.get_mut(&b""[..]).unwrap().mtime = 0;
    tree
}

#[test]
fn what_the_kernel_wrote_shows_the_same_on_the_same_base() {
    let bench = Bench::new();
    let (base, low) = (bench.path("base"), bench.path("low"));
    fill(
        &base,
        &[
            "etc/passwd",
            "opt/gone/a",
            "opt/gone/b/c",
            "opt/new/old",
            "opt/new/sub/old",
            "opt/file",
            "opt/dir/x",
            "keep/k",
            "usr/a",
        ],
    );
    fill(&low, &["opt/gone/low", "opt/new/sub/low", "opt/new/sub/deeper/low", "usr/b", "var/log"]);
    let image = bench.image("kernel.img", &["-t", "ext3"], 32);
    let mounted = Mounted::new(&image, "rw");
    let (upper, work) = (mounted.at.path().join("upper"), mounted.at.path().join("work"));
    let options = format!(
        "lowerdir={}:{},upperdir={},workdir={},index=off,redirect_dir=off,metacopy=off",
        low.display(),
        base.display(),
        upper.display(),
        work.display()
    );
    let writing = overlay(&options);
    let at = |path: &str| writing.at.path().join(path);
    fs::remove_file(at("etc/passwd")).unwrap();
    for directory in ["opt/gone", "opt/new", "opt/dir", "usr"] {
        fs::remove_dir_all(at(directory)).unwrap();
    }
    fill(writing.at.path(), &["opt/new/sub/deeper/mine", "opt/new/file", "usr/c"]);
    fs::write(at("opt/dir"), "was a directory").unwrap();
    fs::remove_file(at("opt/file")).unwrap();
    fs::create_dir(at("opt/file")).unwrap();
    fs::hard_link(at("keep/k"), at("keep/hard")).unwrap();
    fs::set_permissions(at("keep"), fs::Permissions::from_mode(0o700)).unwrap();
    drop(writing);
    drop(mounted);
    let request = Request { base: Some(base.clone()), layers: vec![low.clone()], ..request(&bench, &image) };
    let report = run(&request);
    assert!(report.opaque_translated >= 2 && report.opaque_whiteouts >= 2, "{report:?}");
    let (image, layer) = (Mounted::new(&image, "ro"), Mounted::new(&request.layer, "ro"));
    let (before, after) =
        (merged(&[&image.at.path().join("upper"), &low, &base]), merged(&[layer.at.path(), &low, &base]));
    assert_same(&view(before.at.path()), &view(after.at.path()), "merged");
    same_contents(&view(after.at.path()), before.at.path(), after.at.path());
}

/// An image as fuse-overlayfs leaves it: opt/new replaces a directory, and so on.
fn with_marks(bench: &Bench) -> PathBuf {
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

fn base_for_marks(bench: &Bench) -> PathBuf {
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

#[test]
fn opaque_directories_hide_name_by_name() {
    let bench = Bench::new();
    let image = with_marks(&bench);
    let request = Request { base: Some(base_for_marks(&bench)), ..request(&bench, &image) };
    let (report, whiteouts) = assert_sealed(&bench, &request, "marks");
    let wanted = ["both/dir/old", "opt/gone", "opt/new/old", "opt/new/sub/deep", "opt/new/sub/old"];
    assert_eq!(whiteouts, wanted.map(|path| path.as_bytes().to_vec()).into());
    assert_eq!((report.opaque_translated, report.opaque_whiteouts, report.whiteouts), (2, 4, 1));
}

#[test]
fn layers_between_base_and_image_count_too() {
    let bench = Bench::new();
    let image = with_marks(&bench);
    let low = bench.path("low");
    fill(&low, &["opt/new/low", "opt/new/.wh.old", "fresh/x", "fresh/y/below"]);
    let request = Request { base: Some(base_for_marks(&bench)), layers: vec![low], ..request(&bench, &image) };
    let (_, whiteouts) = assert_sealed(&bench, &request, "layers");
    let wanted = ["both/dir/old", "fresh/x", "opt/gone", "opt/new/low", "opt/new/sub/deep", "opt/new/sub/old"];
    assert_eq!(whiteouts, wanted.map(|path| path.as_bytes().to_vec()).into());
}

#[test]
fn an_image_in_a_sif_is_its_own_base() {
    let bench = Bench::new();
    let image = with_marks(&bench);
    let base = support::squashfs(&bench, &base_for_marks(&bench));
    let overlay = fs::read(&image).unwrap();
    let path = bench.path("whole.sif");
    let parts =
        [Part { fs: 1, role: 2, group: 1, content: &base }, Part { fs: 2, role: 4, group: 1, content: &overlay }];
    fs::write(&path, sif(&parts)).unwrap();
    let report = run(&request(&bench, &path));
    assert_eq!((report.opaque_translated, report.opaque_whiteouts, report.whiteouts), (2, 4, 1));
}

#[test]
fn without_a_base_an_opaque_directory_is_refused() {
    let bench = Bench::new();
    let image = with_marks(&bench);
    let message = refusal(&bench, &request(&bench, &image));
    assert!(
        message.contains("the directory /both/dir hides everything below it")
            && message.contains("(-b, CONDATAINER_BASE"),
        "{message}"
    );
    let message = refusal(&bench, &Request { base: Some(bench.path("nope.sif")), ..request(&bench, &image) });
    assert!(message.contains("nope.sif: no such file or directory"), "{message}");
}

#[test]
fn a_directory_that_only_points_below_is_refused() {
    let bench = Bench::new();
    let image = bench.image("redirect.img", &["-t", "ext3"], 16);
    debugfs_write(&image, "ea_set /upper/ext3 trusted.overlay.redirect /old");
    assert!(refusal(&bench, &request(&bench, &image)).contains("/ext3 only points to what lies below it"));
}

#[test]
fn a_socket_hides_what_it_hid() {
    let bench = Bench::new();
    let tree = bench.tree();
    mknod(&tree.join("upper/run"), SFlag::S_IFSOCK, Mode::from_bits_truncate(0o660), 0).unwrap();
    let image = bench.image("socket.img", &["-t", "ext3"], 16);
    let base = bench.path("base");
    fill(&base, &["run/below"]);
    let (report, whiteouts) = assert_sealed(&bench, &Request { base: Some(base), ..request(&bench, &image) }, "socket");
    assert_eq!((report.sockets_skipped, whiteouts), (1, [b"run".to_vec()].into()));
}

#[test]
fn everything_can_be_given_to_root() {
    let bench = Bench::new();
    let image = rich(&bench, "root", &["-t", "ext3"]);
    let request = Request { base: Some(empty(&bench)), root_owned: true, ..request(&bench, &image) };
    run(&request);
    let layer = Mounted::new(&request.layer, "ro");
    assert!(shown(layer.at.path()).values().all(|shown| shown.ids == (0, 0)));
}

#[test]
fn the_same_content_gives_the_same_bytes() {
    let bench = Bench::new();
    let tree = bench.path("same.tree");
    rich_tree(&tree);
    odd_names(&tree.join("upper"));
    let seal = |name: &str, options: &[&str], processors| {
        let image = bench.image_of(&format!("{name}.img"), options, 64, &tree);
        let layer = bench.path(&format!("{name}.sqf"));
        let base = Some(empty(&bench));
        run(&Request { base, processors, ..Request::new(image, layer.clone()) });
        fs::read(layer).unwrap()
    };
    let first = seal("first", &["-t", "ext3"], None);
    // Another order of names and inodes, another second, another number of threads.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    for processors in [Some(1), Some(2), Some(7)] {
        let again = seal("again", &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum"], processors);
        assert!(again == first, "{processors:?}: the layers differ");
        fs::remove_file(bench.path("again.sqf")).unwrap();
        fs::remove_file(bench.path("again.sqf.env")).unwrap();
    }
}

#[test]
fn no_time_is_later_than_it_may_be() {
    let bench = Bench::new();
    let image = bench.image("epoch.img", &["-t", "ext3"], 16);
    let request = Request { latest: Some(1_000_000_000), ..request(&bench, &image) };
    run(&request);
    let made = u32::from_le_bytes(fs::read(&request.layer).unwrap()[8..12].try_into().unwrap());
    assert_eq!(made, 1_000_000_000);
    let layer = Mounted::new(&request.layer, "ro");
    assert!(shown(layer.at.path()).values().all(|shown| shown.mtime == 1_000_000_000));
}

#[test]
fn compressions_levels_and_block_sizes() {
    let bench = Bench::new();
    let image = bench.image("comp.img", &["-t", "ext3"], 16);
    let plain = request(&bench, &image);
    for (compression, code) in
        [(Compression::Zstd, 6), (Compression::Xz, 4), (Compression::Gzip, 1), (Compression::Lz4, 5)]
    {
        run(&Request { compression, block_size: 1 << 20, force: true, ..plain.clone() });
        let bytes = fs::read(&plain.layer).unwrap();
        assert_eq!((bytes[20], bytes[22]), (code, 20), "{compression:?}");
    }
    let level = |compression, level| Request { compression, level: Some(level), force: true, ..plain.clone() };
    run(&level(Compression::Zstd, 22));
    run(&level(Compression::Gzip, 1));
    assert_eq!(refusal(&bench, &level(Compression::Zstd, 23)), "--level 23: zstd has the levels 1 to 22");
    assert_eq!(refusal(&bench, &level(Compression::Xz, 6)), "--level 6: xz has no levels; leave it out");
    assert!(refusal(&bench, &Request { block_size: 3 << 12, ..plain }).contains("write 4K, 8K, 16K"));
}

#[test]
fn nothing_is_replaced_unless_asked() {
    let bench = Bench::new();
    let image = bench.image("env.img", &["-t", "ext3"], 16);
    let request = request(&bench, &image);
    fs::write(&request.layer, "precious").unwrap();
    assert!(refusal(&bench, &request).contains("exists already; name another file, or replace it with --force"));
    assert_eq!(fs::read(&request.layer).unwrap(), b"precious");
    fs::write(bench.path("layer.sqf.env"), "MINE=1\n").unwrap();
    fs::remove_file(&request.layer).unwrap();
    assert!(refusal(&bench, &request).contains("layer.sqf.env: exists already"));
    run(&Request { force: true, ..request.clone() });
    run(&Request { force: true, ..request.clone() });
    let itself = Request { layer: image.clone(), force: true, ..request.clone() };
    assert!(refusal(&bench, &itself).contains("is the image itself"));
    let directory = Request { layer: bench.dir.path().into(), force: true, ..request.clone() };
    assert!(refusal(&bench, &directory).contains("is a directory"));
    let nowhere = Request { layer: bench.path("no/layer.sqf"), ..request };
    assert!(refusal(&bench, &nowhere).contains("does not exist; make it first"));
}

#[test]
fn variables_go_with_the_layer() {
    let bench = Bench::new();
    let image = bench.image("tool--1.0.img", &["-t", "ext3"], 16);
    fs::write(bench.path("tool--1.0.img.env"), "HOME_OF_IT=$app_root/x\nCONDA_PREFIX=/mine").unwrap();
    let request = request(&bench, &image);
    let beside = run(&request).environment.unwrap();
    let text = fs::read_to_string(beside).unwrap();
    let wanted = "HOME_OF_IT=/cnt/tool/1.0/x\nCONDA_PREFIX=/mine\nMAMBA_ROOT_PREFIX=/ext3/env\nRETICULATE_PYTHON=/ext3/env/bin/python\n";
    assert_eq!(text, wanted);
    let tree = bench.path("bare");
    fs::create_dir_all(tree.join("upper")).unwrap();
    let bare = bench.image_of("bare.img", &["-t", "ext3"], 16, &tree);
    assert_eq!(run(&Request::new(bare, bench.path("bare.sqf"))).environment, None);
    assert!(!bench.path("bare.sqf.env").exists());
}

#[test]
fn an_empty_image_makes_an_empty_layer() {
    let bench = Bench::new();
    let tree = bench.path("empty.tree");
    fs::create_dir_all(tree.join("upper")).unwrap();
    support::set_mode(&tree.join("upper"), 0o711);
    let image = bench.image_of("empty.img", &["-t", "ext3"], 16, &tree);
    let (report, _) = assert_sealed(&bench, &request(&bench, &image), "empty");
    assert_eq!((report.inodes, report.files, report.directories), (1, 0, 1));
}

#[test]
fn a_writer_is_in_the_way_and_a_reader_is_not() {
    let bench = Bench::new();
    let image = bench.image("locked.img", &["-t", "ext3"], 16);
    let holder = File::options().read(true).write(true).open(&image).unwrap();
    let request = request(&bench, &image);
    let guard = take(&holder, whole(&image), Access::Write).unwrap();
    assert!(refusal(&bench, &request).contains("is in use (locked for writing"));
    drop(guard);
    let _reader = take(&holder, whole(&image), Access::Read).unwrap();
    run(&request);
    let mounted = Mounted::new(&image, "ro");
    run(&Request { force: true, ..request.clone() });
    drop(mounted);
    let _mounted = Mounted::new(&image, "rw");
    let error = seal(&Request { force: true, ..request }, &mut |_, _| ControlFlow::Continue(())).unwrap_err();
    assert!(error.to_string().contains("attached to /dev/loop"), "{error}");
}

#[test]
fn the_lock_is_held_to_the_end() {
    let bench = Bench::new();
    let image = bench.image("lock.img", &["-t", "ext3"], 16);
    let writer = File::options().read(true).write(true).open(&image).unwrap();
    let mut asked = 0;
    let mut watch = |_, _| {
        asked += 1;
        assert!(take(&writer, whole(&image), Access::Write).is_err(), "the image was free meanwhile");
        ControlFlow::Continue(())
    };
    seal(&request(&bench, &image), &mut watch).unwrap();
    assert!(asked > 0);
    take(&writer, whole(&image), Access::Write).unwrap();
}

#[test]
fn an_unclean_image_is_repaired_first() {
    let bench = Bench::new();
    for spoil in ["feature needs_recovery", "ssv state 0", "ssv state 3", "ssv last_orphan 14"] {
        let image = bench.image("dirty.img", &["-t", "ext3"], 16);
        debugfs_write(&image, spoil);
        let report = run(&Request { force: true, ..request(&bench, &image) });
        assert!(report.repaired && !report.unclean, "{spoil}: {report:?}");
        assert_eq!(fsck(&image), Ok(()), "{spoil}");
        fs::remove_file(image).unwrap();
    }
}

#[test]
fn an_unclean_image_that_others_read_is_read_as_it_is() {
    let bench = Bench::new();
    let image = bench.image("read.img", &["-t", "ext3"], 16);
    debugfs_write(&image, "ssv state 0");
    let holder = File::open(&image).unwrap();
    let _guard = take(&holder, whole(&image), Access::Read).unwrap();
    let request = request(&bench, &image);
    let report = run(&request);
    assert!(report.unclean && !report.repaired);
    debugfs_write(&image, "feature needs_recovery");
    let message = refusal(&bench, &Request { force: true, ..request });
    assert!(message.contains("is in use (locked for reading"), "{message}");
}

#[test]
fn other_kinds_of_files_are_refused_by_name() {
    let bench = Bench::new();
    let squash = bench.path("other.sqf");
    fs::write(&squash, support::squashfs(&bench, &bench.tree())).unwrap();
    assert!(refusal(&bench, &request(&bench, &squash)).contains("is a squashfs without a writable overlay"));
    let empty = empty(&bench);
    let image = bench.image_of("noupper.img", &["-t", "ext3"], 16, &empty);
    assert!(refusal(&bench, &request(&bench, &image)).contains("without a directory upper/"));
    let image = bench.image("loop.img", &["-t", "ext3"], 16);
    debugfs_write(&image, "ln /upper/ext3 /upper/ext3/env/again");
    assert!(refusal(&bench, &request(&bench, &image)).contains("is in itself"));
}

#[test]
fn what_a_killed_seal_left_is_removed_by_the_next() {
    let bench = Bench::new();
    let image = rich(&bench, "swept", &["-t", "ext3"]);
    let request = Request { base: Some(empty(&bench)), ..request(&bench, &image) };
    let left = bench.path(".env.sqf.condatainer-aB3xyZ.new");
    fs::write(&left, "half a layer").unwrap();
    run(&request);
    assert!(!left.exists());
}

#[test]
fn an_interruption_leaves_nothing() {
    let bench = Bench::new();
    let image = rich(&bench, "interrupted", &["-t", "ext3"]);
    let request = Request { base: Some(empty(&bench)), ..request(&bench, &image) };
    let files = names(bench.dir.path());
    for after in [0, 1, 5, 200] {
        let mut told = 0;
        let mut watch = |_, _| {
            told += 1;
            if told > after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let error = seal(&request, &mut watch).unwrap_err();
        assert!(matches!(error, SealError::Interrupted { .. }), "{error}");
        assert_eq!(names(bench.dir.path()), files);
    }
    run(&request);
}

#[test]
fn progress_goes_up_to_its_total() {
    let bench = Bench::new();
    let image = rich(&bench, "progress", &["-t", "ext3"]);
    let request = Request { base: Some(empty(&bench)), ..request(&bench, &image) };
    let mut told = Vec::new();
    let mut watch = |done, total| {
        told.push((done, total));
        ControlFlow::Continue(())
    };
    let report = seal(&request, &mut watch).unwrap();
    assert!(told.is_sorted() && told.iter().all(|(done, total)| done <= total), "{told:?}");
    assert_eq!(told.last(), Some(&(report.content_bytes, report.content_bytes)));
}

#[test]
fn a_full_disk_leaves_nothing() {
    let bench = Bench::new();
    let tree = bench.tree();
    let mut noise = vec![0; 6 << 20];
    File::open("/dev/urandom").and_then(|mut random| std::io::Read::read_exact(&mut random, &mut noise)).unwrap();
    fs::write(tree.join("upper/noise"), &noise).unwrap();
    let image = bench.image("noise.img", &["-t", "ext3"], 32);
    for kib in [64, 1024, 4096] {
        let small = Small::of(kib);
        let request = Request::new(image.clone(), small.at.path().join("layer.sqf"));
        let error = seal(&request, &mut |_, _| ControlFlow::Continue(())).unwrap_err().to_string();
        assert!(error.contains("there is no space left in"), "{error}");
        assert_eq!(names(small.at.path()), BTreeSet::new());
        fs::write(small.at.path().join("filler"), vec![1; (kib << 10) + 1]).unwrap_err();
        let error = seal(&request, &mut |_, _| ControlFlow::Continue(())).unwrap_err().to_string();
        assert!(error.contains("there is no space left in"), "{error}");
    }
    assert_eq!(fsck(&image), Ok(()));
}

/// A small file system.
struct Small {
    at: tempfile::TempDir,
}

impl Small {
    fn of(kib: usize) -> Self {
        let at = tempfile::tempdir().unwrap();
        let size = format!("size={kib}k");
        ok(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "small"]).arg(at.path()).output().unwrap(), "tmpfs");
        Self { at }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.at.path()).output();
    }
}

#[test]
fn a_layer_is_readable_as_any_new_file() {
    let bench = Bench::new();
    let image = bench.image("mode.img", &["-t", "ext3"], 16);
    let request = request(&bench, &image);
    let report = run(&request);
    let probe = bench.path("probe");
    fs::write(&probe, "").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode();
    assert_eq!(mode(&request.layer), mode(&probe));
    assert_eq!(mode(&report.environment.unwrap()), mode(&probe));
    assert_eq!(report.size_bytes, fs::metadata(&request.layer).unwrap().size());
}
