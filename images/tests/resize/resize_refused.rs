//! Resizes that are refused, or fail on the way: the image must be what it was, and nothing must be left beside it.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use condatainer_formats::ext::Ids;
use condatainer_images::lock::{Access, take};
use condatainer_images::verbs::create::{self, MIN_SIZE, Spec};
use condatainer_images::verbs::resize::{Report, Request, ResizeError, Stage, Wish, resize};
use support::{Bench, Mounted, Part, bytes_of, contents, fsck, memory, names_in, ok, sif, squashfs, whole};

const USER: Ids = Ids { uid: 1_234_567, gid: 70_001 };
const MIB: u64 = 1 << 20;

fn made(path: PathBuf) -> PathBuf {
    create::create(&Spec::new(path, MIN_SIZE, USER), &mut |_, _| {}).unwrap().image.path
}

fn in_place(wish: Wish) -> Request {
    Request { in_place: true, ..Request::new(wish) }
}

/// Refused in one line, with the file as it was and alone.
fn refusal(image: &Path, request: &Request) -> String {
    refusal_while(image, request, &mut |_| {}).to_string()
}

fn refusal_while(image: &Path, request: &Request, meanwhile: &mut dyn FnMut(Stage)) -> ResizeError {
    let directory = image.parent().unwrap();
    let (before, inode, names) = (bytes_of(image), fs::metadata(image).unwrap().ino(), names_in(directory));
    let error = resize(image, request, meanwhile).expect_err("it must be refused");
    assert!(bytes_of(image) == before, "a refused image was changed: {error}");
    assert_eq!(fs::metadata(image).unwrap().ino(), inode, "{error}");
    assert_eq!(names_in(directory), names, "{error}");
    assert!(!error.to_string().contains('\n'), "{error}");
    error
}

#[test]
fn sizes_have_limits() {
    let bench = Bench::new();
    let image = made(bench.path("env.img"));
    let refusal = |wish| refusal(&image, &Request::new(wish));
    assert!(refusal(Wish::To(MIN_SIZE - 1)).contains("the least is 64 MiB (-s 64M)"));
    assert!(refusal(Wish::Shrink(1 << 30)).contains("0 B is too small"));
    for wish in [Wish::To(17 << 40), Wish::Grow(u64::MAX), Wish::Free(u64::MAX), Wish::Free(16 << 40)] {
        assert!(refusal(wish).contains("are too many"), "{wish:?}");
    }
}

#[test]
fn what_is_no_image_of_its_own() {
    let bench = Bench::new();
    let grow = Request::new(Wish::Grow(100 * MIB));
    let ext = fs::read(made(bench.path("env.img"))).unwrap();
    let base = squashfs(&bench, &bench.tree());
    let parts = [Part { fs: 1, role: 2, group: 1, content: &base }, Part { fs: 2, role: 4, group: 1, content: &ext }];
    for (name, bytes, why) in [
        ("a.sif", sif(&parts), "part of the file (a SIF)"),
        ("bare.sif", sif(&parts[..1]), "is a sif; only ext3 images can be resized"),
        ("a.sqf", base.clone(), "is a squashfs; only ext3 images can be resized"),
        ("old.img", [b"#!/usr/bin/env run-singularity\n", ext.as_slice()].concat(), "with a launch line in front"),
        ("text", b"not an image".to_vec(), "is a text file"),
    ] {
        let path = bench.path(name);
        fs::write(&path, bytes).unwrap();
        for request in [grow.clone(), in_place(grow.wish)] {
            let message = refusal(&path, &request);
            assert!(message.contains(why), "{name}: {message}");
        }
    }
    let missing = resize(&bench.path("missing.img"), &grow, &mut |_| {}).unwrap_err();
    assert!(missing.to_string().ends_with("missing.img: no such file or directory"), "{missing}");
}

#[test]
fn features_that_are_not_understood() {
    let bench = Bench::new();
    for feature in ["bigalloc", "quota", "encrypt"] {
        let image = bench.image("refused.img", &["-t", "ext4", "-O", feature], 96);
        let message = refusal(&image, &Request::new(Wish::Grow(100 * MIB)));
        assert!(message.contains(&format!("feature {feature}, which condatainer does not support")), "{message}");
        fs::remove_file(image).unwrap();
    }
}

#[test]
fn a_damaged_image() {
    let bench = Bench::new();
    let image = bench.image("bad.img", &["-t", "ext3"], 96);
    // The block of the directory upper/ext3 is that of upper, too: no repair without a question.
    support::debugfs_write(&image, "sif /upper/ext3 block[0] 1");
    let message = refusal(&image, &Request::new(Wish::Grow(100 * MIB)));
    assert!(message.contains("e2fsck failed: ") && message.contains("; run `e2fsck -f "), "{message}");
    assert!(!message.contains("/proc/self"), "{message}");
}

#[test]
fn other_names_would_be_left_behind() {
    let bench = Bench::new();
    let image = made(bench.path("env.img"));
    fs::hard_link(&image, bench.path("other.img")).unwrap();
    let message = refusal(&image, &Request::new(Wish::To(100 * MIB)));
    assert!(message.contains("has 2 hard links") && message.contains("--in-place"), "{message}");
}

#[test]
fn a_read_only_file_system() {
    let disk = memory(100);
    let image = made(disk.at.path().join("env.img"));
    let remount = |how: &str| {
        ok(Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(disk.at.path()).output().unwrap(), how);
    };
    remount("ro");
    for request in [Request::new(Wish::To(100 * MIB)), in_place(Wish::To(100 * MIB))] {
        assert!(refusal(&image, &request).contains("cannot be opened for writing: its file system is read-only here"));
    }
    remount("rw");
    resize(&image, &Request::new(Wish::To(100 * MIB)), &mut |_| {}).unwrap();
}

/// Not even root may make files in a directory that is immutable.
#[test]
fn a_directory_that_cannot_be_written_to() {
    let bench = Bench::new();
    let disk = bench.path("disk");
    File::create(&disk).unwrap().set_len(300 * MIB).unwrap();
    ok(support::tool("mke2fs").args(["-q", "-F", "-t", "ext4"]).arg(&disk).output().unwrap(), "mke2fs");
    let mounted = Mounted::new(&disk, "rw");
    let directory = mounted.at.path().join("d");
    fs::create_dir(&directory).unwrap();
    let image = made(directory.join("env.img"));
    let chattr = |flag: &str| drop(ok(Command::new("chattr").arg(flag).arg(&directory).output().unwrap(), "chattr"));
    chattr("+i");
    let message = refusal(&image, &Request::new(Wish::To(100 * MIB)));
    let report = resize(&image, &in_place(Wish::To(100 * MIB)), &mut |_| {});
    chattr("-i");
    let reason = format!(
        "no copy of it can be made in {}: Operation not permitted (os error 1); use --in-place",
        directory.display()
    );
    assert!(message.contains(&reason), "{message}");
    assert_eq!((report.unwrap().after_bytes, fsck(&image)), (100 * MIB, Ok(())));
}

#[test]
fn somebody_uses_it() {
    let bench = Bench::new();
    let image = made(bench.path("env.img"));
    let request = Request::new(Wish::To(100 * MIB));
    let holder = File::options().read(true).write(true).open(&image).unwrap();
    for access in [Access::Read, Access::Write] {
        let _guard = take(&holder, whole(&image), access).unwrap();
        assert!(refusal(&image, &request).contains("is in use (locked for "));
        assert!(refusal(&image, &in_place(request.wish)).contains("is in use (locked for "));
    }
    let mounted = Mounted::new(&image, "ro");
    assert!(refusal(&image, &request).contains("attached to /dev/loop"));
    drop(mounted);
    resize(&image, &request, &mut |_| {}).unwrap();
}

/// Whoever comes in the middle without asking for the lock.
#[test]
fn somebody_comes_meanwhile() {
    let bench = Bench::new();
    let image = made(bench.path("env.img"));
    let request = Request::new(Wish::To(100 * MIB));
    let open = || File::options().read(true).write(true).open(&image).unwrap();

    let mut child = None;
    let error = refusal_while(&image, &request, &mut |stage| {
        if stage == Stage::Resizing {
            child = Command::new("sleep").arg("60").stdin(Stdio::from(open())).spawn().ok();
        }
    });
    let mut child = child.unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(error.to_string().contains("(sleep) opened it for writing meanwhile"), "{error}");

    let mut mounted = None;
    let error = refusal_while(&image, &request, &mut |stage| {
        if stage == Stage::Resizing {
            mounted = Some(Mounted::new(&image, "ro"));
        }
    });
    drop(mounted);
    assert!(error.to_string().contains("attached to /dev/loop"), "{error}");

    let error = resize(&image, &request, &mut |stage| {
        if stage == Stage::Resizing {
            open().write_all_at(b"x", 1000).unwrap();
        }
    });
    assert!(error.unwrap_err().to_string().contains("somebody wrote to it meanwhile"));

    let error = resize(&image, &request, &mut |stage| {
        if stage == Stage::Resizing {
            fs::rename(&image, bench.path("away.img")).unwrap();
            fs::write(&image, "another").unwrap();
        }
    });
    assert!(error.unwrap_err().to_string().contains("it was replaced by another file meanwhile"));
    assert_eq!(fs::read_to_string(&image).unwrap(), "another");
    assert_eq!(names_in(bench.dir.path()), ["away.img", "env.img"]);
}

/// An image on a small disk: 40 MiB of it are data that nothing can shrink.
fn on_a_small_disk(disk: &Mounted) -> PathBuf {
    let image = made(disk.at.path().join("env.img"));
    let mounted = Mounted::new(&image, "rw");
    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(40 << 20)
    .collect();
    fs::write(mounted.at.path().join("upper/noise"), noise).unwrap();
    drop(mounted);
    image
}

/// Takes all the space that is left.
fn fill(directory: &Path) {
    let mut file = File::create(directory.join("filler")).unwrap();
    let piece = vec![1; 4096];
    while file.write_all(&piece).is_ok() {}
}

#[test]
fn no_room_for_a_copy_is_told_before() {
    let disk = memory(70);
    let image = on_a_small_disk(&disk);
    let mut stages = Vec::new();
    let error = refusal_while(&image, &Request::new(Wish::To(200 * MIB)), &mut |stage| stages.push(stage));
    let ResizeError::NoSpace { needed, available, .. } = &error else { panic!("{error}") };
    assert!(*needed > 40 * MIB && *available < 30 * MIB, "{error}");
    assert!(error.to_string().contains("--in-place, which a crash can damage"), "{error}");
    assert_eq!(stages, []);
    let content = contents(&image);
    let report = resize(&image, &in_place(Wish::To(200 * MIB)), &mut |_| {}).unwrap();
    assert_eq!((report.after_bytes, fsck(&image)), (200 * MIB, Ok(())));
    assert!(content == contents(&image));
}

/// The disk becomes full just before each of the steps.
#[test]
fn a_full_disk_at_every_step() {
    let grow = Wish::To(600 * MIB);
    let steps: [fn(Stage) -> bool; 3] = [
        |stage| matches!(stage, Stage::Copying(0, _)),
        |stage| stage == Stage::Checking,
        |stage| stage == Stage::Resizing,
    ];
    for (number, step) in steps.into_iter().enumerate() {
        let disk = memory(120);
        let image = on_a_small_disk(&disk);
        let content = contents(&image);
        let (filler, mut filled) = (disk.at.path().join("filler"), false);
        let before = (bytes_of(&image), fs::metadata(&image).unwrap().ino());
        let error = resize(&image, &Request::new(grow), &mut |stage| {
            if step(stage) && !std::mem::replace(&mut filled, true) {
                fill(disk.at.path());
            }
        });
        let error = error.expect_err("there was room").to_string();
        assert!(filled && error.ends_with("; the image is as it was"), "step {number}: {error}");
        assert!(before == (bytes_of(&image), fs::metadata(&image).unwrap().ino()), "step {number}");
        assert_eq!(names_in(disk.at.path()), ["env.img", "filler"], "step {number}: {error}");
        fs::remove_file(filler).unwrap();
        let report: Report = resize(&image, &Request::new(grow), &mut |_| {}).unwrap();
        assert_eq!((report.after_bytes, fsck(&image)), (600 * MIB, Ok(())));
        assert!(content == contents(&image), "step {number}");
    }
}

/// In place, too, what is in the image survives a full disk, but it is not promised.
#[test]
fn a_full_disk_in_place_says_what_to_do() {
    let disk = memory(70);
    let image = on_a_small_disk(&disk);
    let content = contents(&image);
    let error = resize(&image, &in_place(Wish::To(4096 * MIB)), &mut |stage| {
        if stage == Stage::Resizing {
            fill(disk.at.path());
        }
    });
    let error = error.unwrap_err();
    assert!(matches!(error, ResizeError::InPlace { .. }), "{error}");
    assert!(error.to_string().contains("it may be damaged now: run `e2fsck -f -y "), "{error}");
    fs::remove_file(disk.at.path().join("filler")).unwrap();
    let repaired = support::tool("e2fsck").args(["-f", "-y"]).arg(&image).output().unwrap();
    assert!(repaired.status.code().is_some_and(|code| code <= 1), "{repaired:?}");
    assert!(content == contents(&image));
}
