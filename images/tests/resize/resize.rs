//! Resize on real images, judged by e2fsck, by debugfs and by what the kernel shows of the content.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use condatainer_formats::ext::{Ids, probe};
use condatainer_images::lock::{Access, take};
use condatainer_images::verbs::create::{self, MIN_SIZE, Spec};
use condatainer_images::verbs::resize::{Copied, Report, Request, ResizeError, Stage, Wish, resize};
use support::{
    Bench, GEOMETRIES, Mounted, acl, bytes_of, contents, debugfs_write, fsck, moved_contents, names_in, ok, outside,
    populate, rich_tree, snapshot, superblock_field, tool, whole,
};

const USER: Ids = Ids { uid: 1_234_567, gid: 70_001 };
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn run(image: &Path, wish: Wish) -> Report {
    resize(image, &Request::new(wish), &mut |_| {}).unwrap_or_else(|e| panic!("{e}"))
}

fn in_place(wish: Wish) -> Request {
    Request { in_place: true, ..Request::new(wish) }
}

/// An image with every kind of file.
fn rich(bench: &Bench, name: &str, options: &[&str]) -> PathBuf {
    let tree = bench.path("rich");
    if !tree.exists() {
        rich_tree(&tree);
    }
    let image = bench.image_of(name, options, 72, &tree);
    populate(&image, USER);
    assert_eq!(fsck(&image), Ok(()), "{name}: the image is bad to begin with");
    image
}

/// An empty image as 'condatainer o' makes it.
fn made(bench: &Bench, name: &str, bytes: u64) -> PathBuf {
    create::create(&Spec::new(bench.path(name), bytes, USER), &mut |_, _| {}).unwrap().image.path
}

/// An image whose data lies at its end, so that shrinking has to move it.
fn full_at_the_end(bench: &Bench, options: &[&str]) -> PathBuf {
    let image = bench.image("late.img", options, 160);
    let mounted = Mounted::new(&image, "rw");
    let upper = mounted.at.path().join("upper");
    for i in 0..70_u8 {
        let bytes: Vec<u8> = (0..2_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8 ^ i).collect();
        if fs::write(upper.join(format!("file-{i:02}")), bytes).is_err() {
            break;
        }
    }
    for i in 0..45 {
        fs::remove_file(upper.join(format!("file-{i:02}"))).unwrap();
    }
    drop(mounted);
    assert_eq!(fsck(&image), Ok(()));
    image
}

fn features(image: &Path) -> (Vec<String>, Result<(), String>) {
    let probe = probe(&File::open(image).unwrap(), whole(image)).unwrap();
    (probe.features.names(), probe.apptainer)
}

/// Sound, of this size, and alone in its directory but for what a test has put there.
fn assert_sound(image: &Path, bytes: u64, what: &str) {
    assert_eq!(fsck(image), Ok(()), "{what}");
    assert_eq!(fs::metadata(image).unwrap().len(), bytes, "{what}");
    let blocks: u64 = superblock_field(image, "Block count").parse().unwrap();
    let block: u64 = superblock_field(image, "Block size").parse().unwrap();
    assert_eq!(blocks * block, bytes, "{what}");
    let names = names_in(image.parent().unwrap());
    assert!(!names.iter().any(|name| name.ends_with(".resizing")), "{what}: {names:?}");
}

#[test]
fn every_geometry_grows_and_shrinks() {
    let bench = Bench::new();
    for (name, options) in GEOMETRIES {
        let image = rich(&bench, "rich.img", options);
        let (names, content, known) = (snapshot(&image), contents(&image), features(&image));
        let grown = run(&image, Wish::To(320 * MIB));
        assert_eq!((grown.before_bytes, grown.after_bytes, grown.in_place), (72 * MIB, 320 * MIB, false), "{name}");
        assert_sound(&image, 320 * MIB, name);
        assert!(names == snapshot(&image) && content == contents(&image), "{name}: grown");
        assert_eq!(known, features(&image), "{name}: grown");
        let content = moved_contents(&image);
        let shrunk = run(&image, Wish::Shrink(256 * MIB));
        assert_sound(&image, shrunk.after_bytes, name);
        assert_eq!(shrunk.after_bytes, MIN_SIZE, "{name}");
        assert!(content == moved_contents(&image), "{name}: shrunk");
        assert_eq!(features(&image), known, "{name}: shrunk");
        fs::remove_file(image).unwrap();
    }
}

#[test]
fn shrinking_moves_what_lies_at_the_end_and_names_the_least_size() {
    for options in [&["-t", "ext3", "-m", "0"][..], &["-t", "ext4"]] {
        let bench = Bench::new();
        let image = full_at_the_end(&bench, options);
        let content = moved_contents(&image);
        let error = resize(&image, &Request::new(Wish::To(MIN_SIZE)), &mut |_| {});
        let least = match error {
            // 25 files of 2 MB are not that much; what is in the way is the journal and the tables.
            Ok(report) => report.after_bytes / MIB,
            Err(ResizeError::Full { least_mib, .. }) => least_mib,
            Err(error) => panic!("{error}"),
        };
        let report = run(&image, Wish::To(least * MIB));
        assert_sound(&image, least * MIB, "shrunk");
        let now = moved_contents(&image);
        let other = content.iter().find(|(path, was)| now.get(*path) != Some(was));
        assert!(content == now, "{options:?}: {report:?}: {other:?} is {:?}", other.map(|(path, _)| now.get(path)));
    }
}

#[test]
fn what_is_used_is_never_cut_off() {
    let bench = Bench::new();
    let image = bench.image("full.img", &["-t", "ext3", "-m", "0"], 160);
    let mounted = Mounted::new(&image, "rw");
    fs::write(mounted.at.path().join("upper/big"), vec![7; 100 << 20]).unwrap();
    drop(mounted);
    let (bytes, content) = (bytes_of(&image), contents(&image));
    for dry_run in [true, false] {
        let request = Request { dry_run, ..Request::new(Wish::To(80 * MIB)) };
        let error = resize(&image, &request, &mut |_| {}).unwrap_err();
        let ResizeError::Full { least_mib, .. } = error else { panic!("{error}") };
        assert!((101..140).contains(&least_mib), "{error}");
        assert!(error.to_string().ends_with(&format!("the least is {least_mib} MiB (-s {least_mib}M)")), "{error}");
        assert!(bytes_of(&image) == bytes);
        if !dry_run {
            run(&image, Wish::To(least_mib * MIB));
            assert_sound(&image, least_mib * MIB, "least");
            assert!(content == contents(&image));
            let error = resize(&image, &Request::new(Wish::Shrink(MIB)), &mut |_| {}).unwrap_err();
            assert!(error.to_string().contains("cannot be made smaller"), "{error}");
        }
    }
}

#[test]
fn free_is_what_can_really_be_written() {
    let bench = Bench::new();
    for (name, options) in GEOMETRIES {
        let image = bench.image("free.img", options, 72);
        for wanted in [20 * MIB, 400 * MIB] {
            let foreseen = Request { dry_run: true, ..Request::new(Wish::Free(wanted)) };
            let foreseen = resize(&image, &foreseen, &mut |_| {}).unwrap();
            let report = run(&image, Wish::Free(wanted));
            assert!(report.blocks_free * u64::from(report.block_size) >= wanted, "{name}: {report:?}");
            assert!(report.after_bytes >= report.before_bytes, "{name}: {report:?}");
            assert!(report.after_bytes.abs_diff(foreseen.after_bytes) <= 9 * MIB, "{name}: {foreseen:?} {report:?}");
            let mounted = Mounted::new(&image, "ro");
            let stat = nix::sys::statvfs::statvfs(mounted.at.path()).unwrap();
            let available = stat.blocks_available() * stat.fragment_size();
            // The kernel keeps up to 16 MiB of an ext4 for itself, which is no part of what the superblock says.
            assert!(available + if name.starts_with("ext4") { 16 * MIB } else { 0 } >= wanted, "{name}: {available}");
            drop(mounted);
            assert_sound(&image, report.after_bytes, name);
        }
        fs::remove_file(image).unwrap();
    }
}

#[test]
fn enough_is_enough() {
    let bench = Bench::new();
    let image = made(&bench, "env.img", 200 * MIB);
    let (bytes, meta) = (bytes_of(&image), fs::metadata(&image).unwrap());
    for wish in [Wish::Free(50 * MIB), Wish::To(200 * MIB), Wish::Grow(0), Wish::Shrink(0), Wish::Grow(100)] {
        let report = run(&image, wish);
        assert_eq!((report.before_bytes, report.after_bytes, report.copied), (200 * MIB, 200 * MIB, Copied::None));
    }
    let now = fs::metadata(&image).unwrap();
    assert_eq!((now.ino(), now.mtime_nsec()), (meta.ino(), meta.mtime_nsec()));
    assert!(bytes_of(&image) == bytes);
}

#[test]
fn sparse_stays_sparse() {
    // What is counted here are the blocks of a disk.
    let bench = Bench::on_disk();
    let image = made(&bench, "env.img", 200 * MIB);
    let allocated = |image: &Path| fs::metadata(image).unwrap().blocks() * 512;
    let before = allocated(&image);
    for wish in [Wish::To(8 * GIB), Wish::To(16 * GIB)] {
        run(&image, wish);
        assert!(allocated(&image) < before + 2 * MIB, "{before} before, {} now", allocated(&image));
    }
    resize(&image, &in_place(Wish::To(24 * GIB)), &mut |_| {}).unwrap();
    assert!(allocated(&image) < before + 2 * MIB, "{before} before, {} in place", allocated(&image));
    run(&image, Wish::To(200 * MIB));
    assert!(allocated(&image) <= before);
    assert_sound(&image, 200 * MIB, "back");
}

#[test]
fn the_file_stays_what_it_is() {
    let bench = Bench::new();
    // Every new file here gets an ACL, which the image does not have.
    xattr::set(bench.dir.path(), "system.posix_acl_default", &acl(77, 6)).unwrap();
    let image = made(&bench, "env.img", MIN_SIZE);
    std::os::unix::fs::chown(&image, Some(1234), Some(5678)).unwrap();
    xattr::remove(&image, "system.posix_acl_access").unwrap();
    support::set_mode(&image, 0o640);
    xattr::set(&image, "user.note", b"remembered").unwrap();
    let before = outside(&image);
    run(&image, Wish::To(100 * MIB));
    assert_eq!(outside(&image), before, "without an ACL");
    xattr::set(&image, "system.posix_acl_access", &acl(88, 4)).unwrap();
    let before = outside(&image);
    run(&image, Wish::To(MIN_SIZE));
    assert_eq!(outside(&image), before, "with an ACL");
}

#[test]
fn the_file_behind_a_link_is_resized() {
    let bench = Bench::new();
    fs::create_dir(bench.path("real")).unwrap();
    let image = made(&bench, "real/env.img", MIN_SIZE);
    let link = bench.path("link.img");
    symlink("real/env.img", &link).unwrap();
    let report = run(&link, Wish::To(100 * MIB));
    assert_eq!((report.path, report.after_bytes), (link.clone(), 100 * MIB));
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_sound(&image, 100 * MIB, "behind the link");
    assert_eq!(names_in(&bench.path("real")), ["env.img"]);
}

#[test]
fn in_place_keeps_the_very_file() {
    let bench = Bench::new();
    let image = rich(&bench, "rich.img", &["-t", "ext3"]);
    fs::hard_link(&image, bench.path("other.img")).unwrap();
    let (content, inode) = (contents(&image), fs::metadata(&image).unwrap().ino());
    for bytes in [300 * MIB, MIN_SIZE] {
        let mut told = Vec::new();
        let report = resize(&image, &in_place(Wish::To(bytes)), &mut |stage| told.push(stage)).unwrap();
        assert_eq!((report.in_place, report.copied, told[0]), (true, Copied::None, Stage::InPlace));
        assert_sound(&image, bytes, "in place");
        assert!(content == contents(&image));
        assert_eq!(fs::metadata(bench.path("other.img")).unwrap().ino(), inode);
    }
}

/// `e2fsck -p` would give it one in place, and a crash meanwhile would take its names.
#[test]
fn in_place_no_directory_gets_an_index() {
    let bench = Bench::new();
    fs::remove_file(rich(&bench, "first.img", &["-t", "ext3"])).unwrap();
    let listed = bench.path("rich/upper/listed");
    fs::create_dir(&listed).unwrap();
    (0..600).for_each(|i| fs::write(listed.join(format!("a-name-that-is-long-enough-{i}")), "").unwrap());
    let image = rich(&bench, "rich.img", &["-t", "ext3"]);
    let is_indexed = || support::debugfs(&image, "stat /upper/listed").contains("Flags: 0x1000");
    debugfs_write(&image, "sif /upper/listed flags 0");
    let content = contents(&image);
    for bytes in [300 * MIB, MIN_SIZE] {
        resize(&image, &in_place(Wish::To(bytes)), &mut |_| {}).unwrap();
        assert_sound(&image, bytes, "in place");
        assert!(content == contents(&image) && !is_indexed());
        assert!(superblock_field(&image, "Filesystem features").contains("dir_index"));
    }
    run(&image, Wish::To(300 * MIB));
    assert!(is_indexed(), "a copy may get one");
}

#[test]
fn a_dry_run_tells_the_same_and_changes_nothing() {
    let bench = Bench::new();
    let image = rich(&bench, "rich.img", &["-t", "ext3"]);
    for wish in [Wish::To(300 * MIB), Wish::To(100 * MIB), Wish::Free(80 * MIB)] {
        let bytes = bytes_of(&image);
        let dry = resize(&image, &Request { dry_run: true, ..Request::new(wish) }, &mut |_| {}).unwrap();
        assert!(bytes_of(&image) == bytes);
        let report = run(&image, wish);
        assert_eq!((dry.before_bytes, dry.after_bytes), (report.before_bytes, report.after_bytes));
        assert!(dry.blocks_free.abs_diff(report.blocks_free) < 300, "{dry:?} {report:?}");
    }
}

#[test]
fn an_unclean_image_is_repaired_first() {
    let bench = Bench::new();
    for spoil in ["ssv state 0", "ssv state 3", "feature needs_recovery"] {
        let image = rich(&bench, "dirty.img", &["-t", "ext3"]);
        let content = contents(&image);
        debugfs_write(&image, spoil);
        let dry = Request { dry_run: true, ..Request::new(Wish::To(100 * MIB)) };
        assert!(resize(&image, &dry, &mut |_| {}).unwrap_err().to_string().contains("overlay check --fix"), "{spoil}");
        assert!(run(&image, Wish::To(100 * MIB)).repaired, "{spoil}");
        assert_sound(&image, 100 * MIB, spoil);
        assert!(content == contents(&image), "{spoil}");
        fs::remove_file(image).unwrap();
    }
}

#[test]
fn a_journal_is_replayed_first() {
    let bench = Bench::new();
    let image = rich(&bench, "live.img", &["-t", "ext3"]);
    let mounted = Mounted::new(&image, "rw");
    fs::create_dir(mounted.at.path().join("upper/new")).unwrap();
    fs::write(mounted.at.path().join("upper/new/file"), "synced").unwrap();
    ok(Command::new("sync").arg("-f").arg(mounted.at.path()).output().unwrap(), "sync");
    let copy = bench.path("copy.img");
    support::copy(&image, &copy);
    drop(mounted);
    assert!(superblock_field(&copy, "Filesystem features").contains("needs_recovery"));
    assert!(run(&copy, Wish::To(100 * MIB)).repaired);
    assert_sound(&copy, 100 * MIB, "replayed");
    assert_eq!(contents(&copy), contents(&image));
}

#[test]
fn blocks_are_shared_where_the_file_system_can() {
    let bench = Bench::new();
    let disk = bench.path("disk");
    File::create(&disk).unwrap().set_len(400 << 20).unwrap();
    ok(tool("mkfs.xfs").args(["-q", "-m", "reflink=1"]).arg(&disk).output().expect("mkfs.xfs (xfsprogs)"), "mkfs.xfs");
    let xfs = Mounted::new(&disk, "rw");
    let image = made(&bench, "env.img", 300 * MIB);
    let mounted = Mounted::new(&image, "rw");
    fs::write(mounted.at.path().join("upper/big"), vec![7; 190 << 20]).unwrap();
    drop(mounted);
    let home = xfs.at.path().join("env.img");
    ok(Command::new("cp").arg("--sparse=always").arg(&image).arg(&home).output().unwrap(), "cp");
    // More than half of the disk: there is no room for a copy.
    let report = run(&home, Wish::To(600 * MIB));
    assert_eq!(report.copied, Copied::Reflink);
    assert_sound(&home, 600 * MIB, "shared");
    drop(fs::remove_file(home));
}

#[test]
fn two_at_once_one_works() {
    let bench = Bench::new();
    let image = made(&bench, "env.img", MIN_SIZE);
    let first = Request::new(Wish::To(100 * MIB));
    let mut second = None;
    resize(&image, &first, &mut |stage| {
        if stage == Stage::Resizing {
            second = Some(resize(&image, &Request::new(Wish::To(90 * MIB)), &mut |_| {}).unwrap_err().to_string());
        }
    })
    .unwrap();
    let second = second.unwrap();
    assert!(second.contains("is in use (locked for writing by user root, overlay resize, process "), "{second}");
    assert_sound(&image, 100 * MIB, "the first");
    assert_eq!(names_in(bench.dir.path()), ["env.img"]);
    let holder = File::options().read(true).write(true).open(&image).unwrap();
    let _free = take(&holder, whole(&image), Access::Write).expect("the lock of the new file is gone");
}

/// Whoever opens the image before another one's rename and locks it afterwards holds a file that nobody will see again.
#[test]
fn of_many_at_once_none_is_lost() {
    let bench = Bench::new();
    let image = made(&bench, "env.img", MIN_SIZE);
    let grow = |()| {
        let results = (0..12).map(|_| resize(&image, &Request::new(Wish::Grow(8 * MIB)), &mut |_| {}));
        results
            .filter(|result| match result {
                Ok(_) => true,
                Err(ResizeError::Acquire(_) | ResizeError::Changed { .. }) => false,
                Err(error) => panic!("{error}"),
            })
            .count() as u64
    };
    let worked: u64 = std::thread::scope(|scope| {
        let threads = [(); 3].map(|()| scope.spawn(|| grow(())));
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(worked > 0);
    assert_sound(&image, MIN_SIZE + worked * 8 * MIB, "in the end");
}
