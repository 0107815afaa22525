//! Chown on real images, beside debugfs, e2fsck and the kernel.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use condatainer_formats::ext::Ids;
use condatainer_images::lock::{Access, take};
use condatainer_images::verbs::chown::{Report, Request, chown};
use support::{Bench, Seen, bytes_of, debugfs, debugfs_write, fsck, populate, rich_tree, snapshot, whole};

const USER: Ids = Ids { uid: 1_234_567, gid: 70_001 };
const OTHER: Ids = Ids { uid: 1000, gid: 100 };

fn run(image: &Path, request: &Request) -> Report {
    chown(image, request, &mut |_, _| {}).unwrap_or_else(|e| panic!("{e}"))
}

fn refusal(image: &Path, request: &Request) -> String {
    let before = bytes_of(image);
    let error = chown(image, request, &mut |_, _| {}).expect_err("it must be refused").to_string();
    assert!(bytes_of(image) == before, "a refused image was changed");
    assert!(!error.contains('\n'), "{error}");
    error
}

/// A tree of every kind of file, with mostly `owner` in it.
fn rich(bench: &Bench, name: &str, options: &[&str], owner: Ids) -> PathBuf {
    let tree = bench.path("rich");
    if !tree.exists() {
        rich_tree(&tree);
    }
    let image = bench.image_of(name, options, 48, &tree);
    populate(&image, owner);
    assert_eq!(fsck(&image), Ok(()), "{name}: the image is bad to begin with");
    image
}

/// The rule in the test's own words.
fn expected(before: &BTreeMap<String, Seen>, uids: &[u32], gids: &[u32], target: Ids) -> BTreeMap<String, Seen> {
    let mut after = before.clone();
    for (_, seen) in after.iter_mut().filter(|(path, _)| path.starts_with("/upper") || path.starts_with("/work")) {
        if uids.contains(&seen.ids.uid) {
            seen.ids.uid = target.uid;
        }
        if gids.contains(&seen.ids.gid) {
            seen.ids.gid = target.gid;
        }
    }
    after
}

/// Nothing but owners and checksums of inodes may differ.
fn assert_only_owners_differ(before: &[u8], image: &Path) {
    let size: usize = support::superblock_field(image, "Inode size").parse().unwrap();
    let after = fs::read(image).unwrap();
    assert_eq!(before.len(), after.len());
    let fields = [2..4, 0x18..0x1A, 0x78..0x7E, 0x82..0x84];
    for (block, (old, new)) in
        before.chunks(4096).zip(after.chunks(4096)).enumerate().filter(|(_, (old, new))| old != new)
    {
        for at in (0..old.len()).filter(|&at| old[at] != new[at]) {
            assert!(fields.iter().any(|field| field.contains(&(at % size))), "byte {at} of block {block} changed");
        }
    }
}

/// Kinds that the kernel does not mount everywhere, so that debugfs has to be the judge; all others are in `matrix`.
const UNMOUNTABLE: &[(&str, &[&str])] =
    &[("block65536", &["-t", "ext4", "-b", "65536", "-N", "2048"]), ("ext3", &["-t", "ext3"])];

#[test]
fn by_the_word_of_debugfs_there_and_back() {
    let bench = Bench::new();
    for (name, options) in UNMOUNTABLE {
        let image = rich(&bench, name, options, USER);
        let (before, bytes) = (snapshot(&image), fs::read(&image).unwrap());

        let report = run(&image, &Request::new(Ids::ROOT, USER));
        assert_eq!((report.before, report.after, report.walked), (USER, Ids::ROOT, false), "{name}");
        assert_eq!((report.merged_uids, report.merged_gids), (vec![], vec![]), "{name}");
        assert_eq!(report.scanned, inodes_of(&before), "{name}");
        assert_eq!(fsck(&image), Ok(()), "{name}");
        let rooted = expected(&before, &[USER.uid, 0], &[USER.gid, 0], Ids::ROOT);
        assert!(snapshot(&image) == rooted, "{name}");
        assert_only_owners_differ(&bytes, &image);

        let report = run(&image, &Request::new(USER, USER));
        assert_eq!(report.unwritable_directories, 2, "{name}: {report:?}");
        assert_eq!(fsck(&image), Ok(()), "{name}");
        assert!(snapshot(&image) == before, "{name}");
        assert!(fs::read(&image).unwrap() == bytes, "{name}: the way back is exact to the byte");
        fs::remove_file(image).unwrap();
    }
}

/// Distinct inodes below upper and work.
fn inodes_of(seen: &BTreeMap<String, Seen>) -> u64 {
    let ours = seen.iter().filter(|(path, _)| path.starts_with("/upper") || path.starts_with("/work"));
    ours.map(|(_, seen)| seen.ino).collect::<std::collections::BTreeSet<_>>().len() as u64
}

#[test]
fn mixed_use_is_gathered_and_the_merge_is_told() {
    let bench = Bench::new();
    let image = rich(&bench, "mixed", &["-t", "ext3"], OTHER);
    debugfs_write(&image, "sif /upper/opt uid 0");
    debugfs_write(&image, "sif /upper/opt gid 0");
    let report = run(&image, &Request::new(OTHER, OTHER));
    assert_eq!((report.before, report.after, report.changed), (OTHER, OTHER, 1));
    assert_eq!(report.merged_uids, [0, 1000]);
    assert_eq!(report.merged_gids, [0, 100]);
    assert_eq!(support::stat(&image, "/upper/opt").0, OTHER);
}

#[test]
fn from_all_and_groups() {
    let bench = Bench::new();
    let image = rich(&bench, "sets", &["-t", "ext3"], OTHER);
    let from = Request { from: Some(Ids { uid: 6, gid: 8 }), ..Request::new(Ids::ROOT, OTHER) };
    let report = run(&image, &from);
    assert_eq!((report.changed, report.after), (3, OTHER));
    assert_eq!(support::stat(&image, "/upper/var/cache/man").0, Ids { uid: 0, gid: 12 });
    assert_eq!(support::stat(&image, "/upper/var/mail").0, Ids { uid: 1000, gid: 0 });

    run(&image, &Request { groups: true, ..Request::new(USER, USER) });
    assert_eq!(support::stat(&image, "/upper/foreign").0, Ids { uid: 100_042, gid: USER.gid });

    let report = run(&image, &Request { all: true, ..Request::new(USER, USER) });
    assert_eq!(report.unwritable_directories, 0);
    let flat = snapshot(&image);
    assert!(flat.iter().all(|(path, seen)| !path.starts_with("/upper") || seen.ids == USER));
    assert_eq!(fsck(&image), Ok(()));
}

#[test]
fn unwritable_directories_are_named() {
    let bench = Bench::new();
    let image = rich(&bench, "named", &["-t", "ext3"], Ids::ROOT);
    let report = run(&image, &Request::new(OTHER, OTHER));
    assert_eq!(report.unwritable_directories, 2);
    let mut names = report.unwritable_examples;
    names.sort();
    assert_eq!(names, [Path::new("upper/var/cache/man"), Path::new("upper/var/mail")]);
}

#[test]
fn paths_only() {
    let bench = Bench::new();
    for options in [&["-t", "ext3", "-b", "1024"], &["-t", "ext4", "-O", "^filetype"]] {
        let image = rich(&bench, "paths", options, USER);
        let before = snapshot(&image);
        let paths = vec![PathBuf::from("/many"), PathBuf::from("opt/hard"), PathBuf::from("./dangling")];
        let report = run(&image, &Request { paths, ..Request::new(Ids::ROOT, USER) });
        assert_eq!((report.changed, report.walked, report.after), (903, true, USER));
        let after = snapshot(&image);
        for (path, seen) in &after {
            // `plain` is the same inode as `opt/hard`.
            let touched = path.starts_with("/upper/many")
                || ["/upper/opt/hard", "/upper/plain", "/upper/dangling"].contains(&&**path);
            assert_eq!(seen.ids, if touched { Ids::ROOT } else { before[path].ids }, "{path}");
        }
        assert_eq!(fsck(&image), Ok(()));
        for path in ["/nowhere", "../work", "plain/below", "many/../opt", "dangling/x"] {
            let request = Request { paths: vec![path.into()], ..Request::new(Ids::ROOT, USER) };
            assert!(refusal(&image, &request).contains(&format!("there is no {path} in it")), "{path}");
        }
        fs::remove_file(image).unwrap();
    }
}

#[test]
fn a_dry_run_tells_the_same_and_changes_nothing() {
    let bench = Bench::new();
    let image = rich(&bench, "dry", &["-t", "ext3"], USER);
    let bytes = fs::read(&image).unwrap();
    let request = Request::new(Ids::ROOT, USER);
    let dry = run(&image, &Request { dry_run: true, ..request.clone() });
    assert!(fs::read(&image).unwrap() == bytes);
    assert_eq!(dry, run(&image, &request));
}

#[test]
fn progress_goes_up_to_its_total() {
    let bench = Bench::new();
    let image = rich(&bench, "progress", &["-t", "ext3", "-b", "1024"], USER);
    let mut told = Vec::new();
    chown(&image, &Request::new(Ids::ROOT, USER), &mut |done, total| told.push((done, total))).unwrap();
    assert!(told.is_sorted(), "{told:?}");
    assert!(told.iter().all(|(done, total)| done <= total), "{told:?}");
    let (done, total) = *told.last().unwrap();
    assert_eq!(done, total);
}

#[test]
fn locks_are_respected() {
    let bench = Bench::new();
    let image = rich(&bench, "locked", &["-t", "ext3"], USER);
    let holder = File::options().read(true).write(true).open(&image).unwrap();
    let request = Request::new(Ids::ROOT, USER);
    for access in [Access::Read, Access::Write] {
        let _guard = take(&holder, whole(&image), access).unwrap();
        assert!(refusal(&image, &request).contains("is in use (locked for "));
    }
    let _reader = take(&holder, whole(&image), Access::Read).unwrap();
    run(&image, &Request { dry_run: true, ..request });
}

#[test]
fn an_unclean_image_that_somebody_has_open_is_in_use() {
    let bench = Bench::new();
    let image = rich(&bench, "open", &["-t", "ext3"], USER);
    debugfs_write(&image, "ssv state 0");
    let stdin = std::process::Stdio::from(File::open(&image).unwrap());
    let mut child = std::process::Command::new("sleep").arg("60").stdin(stdin).spawn().unwrap();
    let message = refusal(&image, &Request { replay: true, ..Request::new(Ids::ROOT, USER) });
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(message.contains(&format!("open in sleep, pid {}", child.id())), "{message}");
}

#[test]
fn inline_data_needs_no_walk_and_is_refused_in_one() {
    let bench = Bench::new();
    let image = rich(&bench, "inline", &["-t", "ext4", "-O", "inline_data"], USER);
    assert!(!run(&image, &Request::new(Ids::ROOT, USER)).walked);
    assert_eq!(fsck(&image), Ok(()));
    let small = debugfs(&image, "stat /upper/opt").contains("Flags: 0x10000000");
    let request = Request { paths: vec!["opt".into()], ..Request::new(USER, USER) };
    assert!(small && refusal(&image, &request).contains("inline_data"));
}

#[test]
fn a_wrong_inode_checksum_is_damage() {
    let bench = Bench::new();
    let image = rich(&bench, "csum", &["-t", "ext4"], USER);
    debugfs_write(&image, "sif /upper/plain checksum 0x12345678");
    let message = refusal(&image, &Request::new(Ids::ROOT, USER));
    assert!(message.contains("wrong checksum"), "{message}");
}

#[test]
fn an_unwritable_or_foreign_file_is_refused() {
    let bench = Bench::new();
    let squash = bench.path("a.sqf");
    fs::write(&squash, "not an image").unwrap();
    assert!(refusal(&squash, &Request::new(Ids::ROOT, USER)).contains("is a text file"));
    let error = chown(bench.dir.path(), &Request::new(Ids::ROOT, USER), &mut |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("without a writable overlay"), "{error}");
}
