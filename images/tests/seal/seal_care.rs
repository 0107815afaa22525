//! Sealing with care: what is refused, who is in the way, and what is left after a failure.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/sealing.rs"]
mod sealing;
#[path = "../support/seen.rs"]
mod seen;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use condatainer_images::lock::{Access, take};
use condatainer_images::verbs::seal::{Compression, Request, SealError, seal};
use sealing::{empty, names, refusal, request, rich, run, with_marks};
use support::{Bench, Mounted, debugfs_write, fsck, ok, whole};

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
    let readable = mode(&probe) & !0o022;
    assert_eq!((mode(&request.layer), mode(&report.environment.unwrap())), (readable, readable));
    assert_eq!(report.size_bytes, fs::metadata(&request.layer).unwrap().size());
}
