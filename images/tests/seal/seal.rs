//! What a sealed layer shows: beside the image, both mounted by the kernel.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/sealing.rs"]
mod sealing;
#[path = "../support/seen.rs"]
mod seen;
#[path = "../support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use condatainer_images::verbs::seal::Request;
use nix::sys::stat::{Mode, SFlag, mknod};
use sealing::{assert_sealed, base_for_marks, empty, fill, odd_names, request, rich, run, with_marks};
use seen::{Tree, assert_same, same_contents, shown};
use support::{Bench, GEOMETRIES, Mounted, Part, debugfs_write, fsck, ok, rich_tree, sif};

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
    Mounted { at, image: None }
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

/// mksquashfs 4.5 gives the root of a layer the present time where all that it is told lies in the future.
#[test]
fn a_time_in_the_future_does_not_make_another_layer_each_time() {
    let bench = Bench::new();
    let tree = bench.path("future.tree");
    rich_tree(&tree);
    let image = bench.image_of("env.img", &["-t", "ext3"], 64, &tree);
    // The year 2040: touch -d, or the clock of another machine.
    debugfs_write(&image, "sif /upper/usr/bin/sudo mtime @2208988800");
    let seal = |name: &str| {
        let layer = bench.path(name);
        run(&Request { base: Some(empty(&bench)), ..Request::new(image.clone(), layer.clone()) });
        fs::read(layer).unwrap()
    };
    let first = seal("first.sqf");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert!(seal("second.sqf") == first, "the layers differ");
}

#[test]
fn a_level_is_asked_for_or_a_quick_one_is_taken() {
    let bench = Bench::new();
    let tree = bench.path("levels.tree");
    rich_tree(&tree);
    let text: Vec<u8> =
        (0..300_000_u32).flat_map(|i| format!("{} ", i.wrapping_mul(2_654_435_761) >> 20).into_bytes()).collect();
    fs::write(tree.join("upper/text"), text).unwrap();
    let image = bench.image_of("env.img", &["-t", "ext3"], 64, &tree);
    let size = |level| {
        let layer = bench.path(&format!("{level:?}.sqf"));
        run(&Request { base: Some(empty(&bench)), level, ..Request::new(image.clone(), layer) }).size_bytes
    };
    let [fast, usual, six, small] = [Some(1), None, Some(6), Some(19)].map(size);
    assert!(usual == six && small < usual && usual < fast, "{fast} {usual} {six} {small}");
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
fn an_empty_image_makes_an_empty_layer() {
    let bench = Bench::new();
    let tree = bench.path("empty.tree");
    fs::create_dir_all(tree.join("upper")).unwrap();
    support::set_mode(&tree.join("upper"), 0o711);
    let image = bench.image_of("empty.img", &["-t", "ext3"], 16, &tree);
    let (report, _) = assert_sealed(&bench, &request(&bench, &image), "empty");
    assert_eq!((report.inodes, report.files, report.directories), (1, 0, 1));
}
