//! Check of what e2fsck does not know: upper and work, owners, features, and images of other kinds.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

use condatainer_formats::ext::{Ids, probe};
use condatainer_images::acquire::holder::{self, note_path};
use condatainer_images::system::user::Caller;
use condatainer_images::verbs::check::{Code, Fix, Request, check};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use support::checking::{RECIPE, content, cured, drafts, errors, look, refusal, rich, root, run, run_as};
use support::{
    Bench, Part, acl, bytes_of, copy, debugfs, debugfs_script, debugfs_write, fsck, memory, names_in, outside,
    rich_tree, set_mode, sif, snapshot, stat, superblock_field, whole,
};

/// Where the whiteouts of an image are remembered.
const MARK: &str = "user.condatainer.whiteouts";

#[test]
fn missing_directories_are_made() {
    let bench = Bench::new();
    let cases: [(&[&str], &[Code], Ids); 3] = [
        (&["work"], &[Code::WorkMissing], Ids { uid: 1_234_567, gid: 70_001 }),
        (&["upper"], &[Code::UpperMissing], Ids { uid: 1_234_567, gid: 70_001 }),
        (&["upper", "work"], &[Code::UpperMissing, Code::WorkMissing], Ids { uid: 0, gid: 0 }),
    ];
    for (missing, codes, owner) in cases {
        let tree = bench.path("tree");
        fs::create_dir_all(&tree).unwrap();
        fs::write(tree.join("other"), "other").unwrap();
        for name in ["upper", "work"].into_iter().filter(|name| !missing.contains(name)) {
            fs::create_dir_all(tree.join(name)).unwrap();
            std::os::unix::fs::chown(tree.join(name), Some(1_234_567), Some(70_001)).unwrap();
        }
        let image = bench.image_of("env.img", RECIPE, 16, &tree);
        let before = snapshot(&image);
        assert_eq!(look(&image), codes);
        let report = cured(&bench, &image, Fix::Safe);
        assert_eq!((errors(&report).as_slice(), report.kept), (codes, None));
        let after = snapshot(&image);
        assert!(before.iter().all(|(path, seen)| after.get(path) == Some(seen)), "{after:#?}");
        assert_eq!(after.len(), before.len() + missing.len());
        for name in missing {
            assert_eq!(stat(&image, name), (owner, 0o755), "{name}");
        }
        fs::remove_dir_all(tree).unwrap();
        fs::remove_file(image).unwrap();
    }
}

/// The repair works on a copy, for which there is no room, or not enough.
#[test]
fn a_full_disk_leaves_the_image_as_it_was() {
    let bench = Bench::new();
    let tree = bench.path("bare");
    fs::create_dir_all(tree.join("upper")).unwrap();
    fs::write(tree.join("upper/data"), vec![7; 6 << 20]).unwrap();
    let original = bench.image_of("original.img", RECIPE, 64, &tree);
    let disk = memory(48);
    let image = disk.at.path().join("env.img");
    copy(&original, &image);
    let bytes = bytes_of(&image);
    for kib in [0, 64, 2048, 5000] {
        let room = || nix::sys::statvfs::statvfs(disk.at.path()).unwrap();
        let filler = disk.at.path().join("filler");
        fs::write(&filler, vec![1; (room().blocks_available() * room().fragment_size()) as usize - kib * 1024])
            .unwrap();
        let message = refusal(&image, Fix::Safe);
        assert!(message.contains("needs") && message.contains("make room, then run this again"), "{kib}: {message}");
        assert!(bytes_of(&image) == bytes, "{kib}: the image changed");
        fs::remove_file(filler).unwrap();
        assert_eq!(names_in(disk.at.path()), ["env.img"], "{kib}");
    }
    assert!(run(&image, Fix::Safe).ok);
    assert_eq!(fsck(&image), Ok(()));
}

#[test]
fn a_directory_that_does_not_fit_is_said() {
    let bench = Bench::new();
    let tree = bench.path("bare");
    fs::create_dir_all(tree.join("upper")).unwrap();
    // Sixteen inodes, eleven of them the file system's own.
    (0..4).for_each(|i| fs::write(tree.join(format!("upper/{i}")), "").unwrap());
    let image = bench.image_of("env.img", &[RECIPE, &["-N", "16"]].concat(), 16, &tree);
    assert_eq!(superblock_field(&image, "Free inodes"), "0");
    assert_eq!(look(&image), [Code::WorkMissing]);
    let message = refusal(&image, Fix::Safe);
    assert!(message.contains("perhaps the image is full") && message.contains("the image is as it was"), "{message}");
    assert_eq!(drafts(&bench), Vec::<String>::new());
}

#[test]
fn what_is_not_a_directory_is_never_deleted() {
    let bench = Bench::new();
    let cases = [
        ("symlink upper lost+found", Code::UpperNotDirectory, "a symbolic link", "debugfs -w -R 'rm /upper'"),
        ("mknod upper p", Code::UpperNotDirectory, "a fifo", "debugfs -w -R 'rm /upper'"),
    ];
    for (request, code, kind, cure) in cases {
        let tree = bench.path("bare");
        fs::create_dir_all(tree.join("work")).unwrap();
        let image = bench.image_of("env.img", RECIPE, 16, &tree);
        debugfs_write(&image, request);
        assert_eq!(look(&image), [code]);
        let before = bytes_of(&image);
        let report = run(&image, Fix::Force);
        assert!(!report.ok && bytes_of(&image) == before, "{report:#?}");
        let finding = &report.findings[0];
        assert!(finding.message.contains(kind) && finding.cure.as_ref().unwrap().contains(cure), "{finding:?}");
        debugfs_write(&image, "rm /upper");
        cured(&bench, &image, Fix::Safe);
        fs::remove_file(image).unwrap();
    }
    let tree = bench.path("file");
    fs::create_dir_all(tree.join("upper")).unwrap();
    fs::write(tree.join("work"), "precious").unwrap();
    let image = bench.image_of("env.img", RECIPE, 16, &tree);
    assert_eq!(look(&image), [Code::WorkNotDirectory]);
    let report = run(&image, Fix::Force);
    assert!(report.findings[0].cure.as_ref().unwrap().contains("dump /work work.saved"), "{report:#?}");
    assert_eq!(debugfs(&image, "cat /work"), "precious");
}

#[test]
fn owners() {
    let bench = Bench::new();
    let alice = || Caller { uid: 1001, gid: 1001, name: "alice".into(), ..root() };
    let image = rich(&bench, "env.img", RECIPE);
    debugfs_script(&image, "sif /work uid 5000\nsif /work/work gid 5\nsif /upper/var/cache/man uid 5000\n");
    assert_eq!(look(&image), [Code::WorkOwner]);
    cured(&bench, &image, Fix::Safe);
    assert_eq!(stat(&image, "/work/work").0, Ids::ROOT);
    assert_eq!(stat(&image, "/upper/var/cache/man").0.uid, 5000, "only work was to be given away");

    // Root's is usable under fakeroot, another user's is not without a subuid range.
    assert!(run_as(&image, Fix::No, alice()).ok);
    debugfs_script(&image, "sif /upper uid 70000\nsif /work uid 70000\n");
    let report = run_as(&image, Fix::No, alice());
    assert_eq!((errors(&report).as_slice(), report.ok), (&[Code::UpperOwner][..], false));
    assert_eq!(report.findings[0].cure, Some(format!("condatainer overlay chown {}", image.display())));
    assert!(run(&image, Fix::No).ok, "root can use every owner");

    let left = run_as(&image, Fix::Safe, alice());
    assert!(!left.ok && stat(&image, "/upper").0.uid == 70_000, "it may be right for the owner of the file: {left:#?}");
    std::os::unix::fs::chown(&image, Some(1001), Some(1001)).unwrap();
    let report = run_as(&image, Fix::Safe, alice());
    assert!(report.ok && report.findings[0].fixed, "{report:#?}");
    assert_eq!((stat(&image, "/upper").0, fsck(&image)), (Ids { uid: 1001, gid: 1001 }, Ok(())));
}

#[test]
fn features_that_apptainer_refuses() {
    let bench = Bench::new();
    let removable: &[&[&str]] = &[
        &["-t", "ext2"],
        &["-t", "ext3", "-O", "metadata_csum"],
        &["-t", "ext3", "-O", "uninit_bg,dir_nlink,extra_isize,huge_file"],
        &["-t", "ext3", "-O", "quota"],
        &["-t", "ext4", "-O", "^extent,^flex_bg,^64bit,metadata_csum_seed,orphan_file"],
    ];
    for options in removable {
        let image = rich(&bench, "env.img", options);
        let found = look(&image);
        let refused = [Code::NoJournal, Code::NewerFeatures].contains(found.last().unwrap());
        // mke2fs -d does not count what it copies.
        let others = if options.contains(&"quota") { 1 } else { 0 };
        assert!(refused && found.len() == 1 + others, "{options:?}: {found:?}");
        let before = content(&image);
        cured(&bench, &image, Fix::Safe);
        assert_eq!(content(&image), before, "{options:?}");
        assert_eq!(probe(&File::open(&image).unwrap(), whole(&image)).unwrap().apptainer, Ok(()));
        fs::remove_file(image).unwrap();
    }
    for options in [&["-t", "ext4"][..], &["-t", "ext4", "-O", "inline_data"], &["-t", "ext4", "-O", "^has_journal"]] {
        let image = rich(&bench, "env.img", options);
        assert!(look(&image).contains(&Code::NewerFeatures));
        let before = bytes_of(&image);
        let report = run(&image, Fix::Force);
        assert!(!report.ok && bytes_of(&image) == before, "half a conversion is none: {report:#?}");
        let cure = report.findings.iter().find(|f| f.code == Code::NewerFeatures).unwrap().cure.clone().unwrap();
        assert!(cure.contains("make a new image") && cure.contains("condatainer o -s"), "{cure}");
        fs::remove_file(image).unwrap();
    }
}

#[test]
fn whiteouts_are_worth_knowing() {
    let bench = Bench::new();
    let tree = bench.path("white");
    rich_tree(&tree);
    let image = bench.image_of("env.img", RECIPE, 48, &tree);
    let report = run(&image, Fix::No);
    let [finding] = &report.findings[..] else { panic!("{report:#?}") };
    assert!(report.ok && finding.code == Code::FuseWhiteouts && finding.count == 1, "{finding:?}");
    assert!(finding.message.contains("our own starts honour them"));
    assert!(finding.cure.as_ref().is_some_and(|cure| cure.contains("check --fix")), "{finding:?}");
}

/// A cure that changes nothing would be proposed for ever.
#[test]
fn whiteouts_that_cannot_be_translated_have_no_cure() {
    let bench = Bench::new();
    let tree = bench.path("white");
    rich_tree(&tree);
    let image = bench.image_of("env.img", &["-t", "ext4", "-O", "extent,metadata_csum"], 48, &tree);
    let report = run(&image, Fix::No);
    let finding = report.findings.iter().find(|finding| finding.code == Code::FuseWhiteouts).unwrap();
    assert!(
        finding.cure.is_none() && finding.message.contains("they stay as they are, for the image uses"),
        "{finding:?}"
    );
    // Where a repair takes away what stands in the way, it cures this, too.
    let options = ["-t", "ext3", "-O", "uninit_bg"];
    let image = bench.image_of("newer.img", &options, 48, &tree);
    let before = run(&image, Fix::No);
    let finding = before.findings.iter().find(|finding| finding.code == Code::FuseWhiteouts).unwrap();
    assert!(finding.cure.is_some(), "{finding:?}");
    let after = run(&image, Fix::Safe);
    assert!(after.findings.iter().all(|finding| finding.fixed), "{after:#?}");
}

#[test]
fn the_overlay_of_a_sif() {
    let bench = Bench::new();
    let overlay = rich(&bench, "overlay", RECIPE);
    debugfs_script(&overlay, "ssv state 0\nsetb 9000 20\n");
    let system = support::squashfs(&bench, &bench.path("rich"));
    let content = fs::read(&overlay).unwrap();
    let system = Part { fs: 1, role: 2, group: 1, content: &system };
    let image = bench.path("env.sif");
    fs::write(&image, sif(&[system, Part { fs: 2, role: 4, group: 1, content: &content }])).unwrap();
    let before = fs::read(&image).unwrap();
    assert_eq!(look(&image), [Code::NotClean, Code::StaleBitmaps, Code::WrongCounts]);
    let report = run(&image, Fix::Safe);
    assert!(report.ok && report.kind == "sif", "{report:#?}");
    let after = fs::read(&image).unwrap();
    let at = before.len() - content.len();
    assert!(after[..at] == before[..at], "something beside the overlay was changed");
    fs::write(&overlay, &after[at..]).unwrap();
    assert_eq!(fsck(&overlay), Ok(()));
}

#[test]
fn a_sif_is_repaired_on_a_copy_too() {
    let bench = Bench::new();
    let tree = bench.path("bare");
    fs::create_dir_all(tree.join("upper")).unwrap();
    let overlay = bench.image_of("overlay", RECIPE, 16, &tree);
    let system = support::squashfs(&bench, &tree);
    let content = fs::read(&overlay).unwrap();
    let system = Part { fs: 1, role: 2, group: 1, content: &system };
    let image = bench.path("env.sif");
    fs::write(&image, sif(&[system, Part { fs: 2, role: 4, group: 1, content: &content }])).unwrap();
    assert_eq!(look(&image), [Code::WorkMissing]);
    assert!(run(&image, Fix::Safe).ok);
    let after = fs::read(&image).unwrap();
    fs::write(&overlay, &after[after.len() - content.len()..]).unwrap();
    assert_eq!((fsck(&overlay), stat(&overlay, "/work")), (Ok(()), (Ids::ROOT, 0o755)));
}

#[test]
fn squashfs_and_directories() {
    let bench = Bench::new();
    let tree = bench.path("white");
    rich_tree(&tree);
    fs::write(tree.join("upper/numbers"), (0..90_000).map(|i| i.to_string()).collect::<String>()).unwrap();
    let mut bytes = support::squashfs(&bench, &tree);
    let path = bench.path("made.sqf");
    fs::write(&path, &bytes).unwrap();
    let report = run(&path, Fix::No);
    assert!(report.ok && report.kind == "squashfs", "{report:#?}");
    // The default compressor carries checksums.
    bytes[500..520].fill(0x55);
    fs::write(&path, &bytes).unwrap();
    let report = run(&path, Fix::No);
    assert!(!report.ok && errors(&report) == [Code::DamagedSquashfs], "{report:#?}");
    assert!(report.findings[0].message.contains("failed to read"), "{report:#?}");

    assert!(run(&tree, Fix::No).ok);
    fs::remove_dir_all(tree.join("work")).unwrap();
    fs::write(tree.join("work"), "").unwrap();
    assert_eq!(errors(&run(&tree, Fix::Safe)), [Code::WorkNotDirectory]);
}

#[test]
fn a_link_is_followed_and_stays() {
    let bench = Bench::new();
    let tree = bench.path("bare");
    fs::create_dir_all(tree.join("upper")).unwrap();
    fs::create_dir(bench.path("real")).unwrap();
    let image = bench.image_of("real/env.img", RECIPE, 16, &tree);
    let link = bench.path("env.img");
    std::os::unix::fs::symlink(&image, &link).unwrap();
    assert!(run(&link, Fix::Safe).ok);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!((fsck(&image), look(&image)), (Ok(()), Vec::new()));
}

/// What is repaired on a copy looks the same from outside, also where every new file gets an ACL.
#[test]
fn the_file_stays_what_it_is() {
    let bench = Bench::new();
    xattr::set(bench.dir.path(), "system.posix_acl_default", &acl(77, 6)).unwrap();
    let tree = bench.path("bare");
    fs::create_dir_all(tree.join("upper")).unwrap();
    for attribute in [None, Some(acl(88, 4))] {
        let image = bench.image_of("env.img", RECIPE, 16, &tree);
        std::os::unix::fs::chown(&image, Some(1234), Some(5678)).unwrap();
        xattr::remove(&image, "system.posix_acl_access").unwrap();
        set_mode(&image, 0o640);
        xattr::set(&image, "user.note", b"remembered").unwrap();
        if let Some(attribute) = attribute {
            xattr::set(&image, "system.posix_acl_access", &attribute).unwrap();
        }
        let (before, inode) = (outside(&image), fs::metadata(&image).unwrap().ino());
        xattr::set(&image, MARK, b"of a superblock that is no more").unwrap();
        let report = cured(&bench, &image, Fix::Safe);
        assert_eq!(errors(&report), [Code::WorkMissing]);
        assert_ne!(fs::metadata(&image).unwrap().ino(), inode, "it was no copy");
        // A mark of its own it may have.
        assert_ne!(xattr::get(&image, MARK).unwrap().as_deref(), Some(&b"of a superblock that is no more"[..]));
        xattr::remove(&image, MARK).ok();
        assert_eq!(outside(&image), before);
        fs::remove_file(image).unwrap();
    }
}

/// Who comes second is told what is going on; many may look at once, and leave no note.
#[test]
fn a_repair_is_announced_and_a_look_is_not() {
    let bench = Bench::new();
    let tree = bench.path("bare");
    fs::create_dir_all(tree.join("upper")).unwrap();
    let image = bench.image_of("env.img", RECIPE, 16, &tree);
    for (fix, verb) in [(Fix::No, None), (Fix::Safe, Some("overlay check".to_owned()))] {
        let mut seen = Vec::new();
        let mut look = |_, _| seen.push((holder::read(&image).and_then(|holder| holder.verb), refusal_now(&image)));
        check(&image, &Request { fix, caller: root() }, &mut look).unwrap();
        assert!(!seen.is_empty() && seen.iter().all(|(said, _)| *said == verb), "{fix:?}: {seen:?}");
        let told = |refusal: &String| refusal.contains("is in use (locked for writing by user root, overlay check, ");
        assert!(verb.is_none() || seen.iter().any(|(_, refusal)| told(refusal)), "{seen:?}");
        assert!(!note_path(&image).exists());
    }
}

fn refusal_now(image: &Path) -> String {
    let refused = check(image, &Request { fix: Fix::Safe, caller: root() }, &mut |_, _| {});
    refused.expect_err("two at once").to_string()
}
