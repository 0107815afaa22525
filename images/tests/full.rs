//! Chown where the disk is full, and several at once: an error that says so, and an image that is what it was or what it should
//! become, never something between.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use condatainer_formats::ext::{Ids, probe};
use condatainer_images::verbs::chown::{Request, chown};
use support::{Bench, add_files, fsck, ok, tool, whole};

const USER: Ids = Ids { uid: 1_234_567, gid: 70_001 };
/// Bytes that are free when a chown begins; it changes some two million.
const ROOM: [u64; 8] = [0, 16 << 10, 64 << 10, 256 << 10, 512 << 10, 1 << 20, 2 << 20, 64 << 20];

fn to_root() -> Request {
    Request::new(Ids::ROOT, USER)
}

/// A directory on which something is mounted until this is dropped.
struct Mount {
    at: PathBuf,
}

impl Mount {
    fn new(at: PathBuf, arguments: &[&str]) -> Self {
        fs::create_dir_all(&at).unwrap();
        ok(Command::new("mount").args(arguments).arg(&at).output().unwrap(), "mount, which needs root");
        Self { at }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).output();
    }
}

/// Writes until there is no room left.
fn fill(path: &Path) {
    let mut file = File::options().create(true).append(true).open(path).unwrap();
    for size in [1 << 20, 4096] {
        while file.write_all(&vec![1; size]).is_ok() && file.sync_data().is_ok() {}
    }
}

fn upper(image: &Path) -> Ids {
    probe(&File::open(image).unwrap(), whole(image)).unwrap().upper.owner().unwrap().ids()
}

/// Many inodes, so that there are many writes that can fail.
fn large(bench: &Bench) -> PathBuf {
    let tree = bench.tree();
    add_files(&tree, 8_000, |_| String::new());
    let image = bench.image_of("original", &["-t", "ext3", "-b", "4096", "-N", "12000"], 32, &tree);
    chown(&image, &Request::new(USER, USER), &mut |_, _| {}).unwrap();
    image
}

#[test]
fn a_full_disk_is_no_hindrance_where_blocks_are_written_in_place() {
    let bench = Bench::new();
    let small = Mount::new(bench.path("small"), &["-t", "tmpfs", "-o", "size=40m", "tmpfs"]);
    let image = small.at.join("env.img");
    ok(Command::new("cp").arg("--sparse=always").arg(large(&bench)).arg(&image).output().unwrap(), "cp");
    fill(&small.at.join("filler"));
    assert!(fs::write(small.at.join("more"), vec![1; 8192]).is_err());
    assert_eq!(chown(&image, &to_root(), &mut |_, _| {}).unwrap().after, Ids::ROOT);
    assert_eq!(fsck(&image), Ok(()));
}

/// A copy that shares its blocks with the original needs room for every block that a chown changes.
#[test]
fn a_disk_that_fills_up_on_the_way_leaves_the_old_owner_and_loses_nothing() {
    let bench = Bench::new();
    let disk = bench.path("disk");
    File::create(&disk).unwrap().set_len(320 << 20).unwrap();
    ok(tool("mkfs.xfs").arg("-q").arg(&disk).output().expect("mkfs.xfs is needed: install xfsprogs"), "mkfs.xfs");
    let mount = Mount::new(bench.path("xfs"), &["-o", "loop", disk.to_str().unwrap()]);
    let (original, image) = (mount.at.join("original.img"), mount.at.join("env.img"));
    fs::copy(large(&bench), &original).unwrap();
    let filler = mount.at.join("filler");
    let mut failed = 0;
    // From no room at all to room for everything.
    for room in ROOM {
        let reflink = Command::new("cp").arg("--reflink=always").arg(&original).arg(&image).output().unwrap();
        ok(reflink, "cp --reflink");
        fill(&filler);
        make_room(&filler, room);
        failed += usize::from(attempt(&image, room));
        fs::remove_file(&filler).unwrap();
        assert_eq!(chown(&image, &to_root(), &mut |_, _| {}).unwrap().after, Ids::ROOT, "with room again");
        assert_eq!(fsck(&image), Ok(()));
        fs::remove_file(&image).unwrap();
    }
    assert_eq!(fsck(&original), Ok(()));
    assert_eq!(upper(&original), USER);
    eprintln!("{failed} of {} chowns found no room", ROOM.len());
    assert!((1..ROOM.len()).contains(&failed), "{failed}");
}

fn make_room(filler: &Path, room: u64) {
    let file = File::options().write(true).open(filler).unwrap();
    file.set_len(file.metadata().unwrap().len().saturating_sub(room)).unwrap();
    file.sync_all().unwrap();
}

/// True when it failed for want of room.
fn attempt(image: &Path, room: u64) -> bool {
    let result = chown(image, &to_root(), &mut |_, _| {});
    assert_eq!(fsck(image), Ok(()), "with {room} bytes");
    match result {
        Ok(report) => assert_eq!((report.after, upper(image)), (Ids::ROOT, Ids::ROOT)),
        Err(error) => {
            let message = error.to_string();
            assert!(message.contains("stopped before the end: No space left on device"), "{message}");
            assert!(message.contains("run the same command again"), "{message}");
            assert_eq!(upper(image), USER, "with {room} bytes");
            return true;
        }
    }
    false
}

/// Of several at once exactly one works at a time; whoever is refused has changed nothing, and in the end all is done.
#[test]
fn two_at_once() {
    let bench = Bench::new();
    let image = large(&bench);
    let results: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..8).map(|_| scope.spawn(|| chown(&image, &to_root(), &mut |_, _| {}))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let did: Vec<u64> = results.iter().flatten().map(|report| report.changed).collect();
    assert_eq!(did.iter().filter(|&&changed| changed > 8000).count(), 1, "{did:?}");
    assert!(did.iter().all(|&changed| changed == 0 || changed > 8000), "{did:?}");
    for error in results.iter().filter_map(|result| result.as_ref().err()) {
        assert!(error.to_string().contains("is in use (locked for writing"), "{error}");
    }
    assert_eq!((upper(&image), fsck(&image)), (Ids::ROOT, Ok(())));
}
