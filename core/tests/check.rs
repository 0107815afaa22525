//! Check on real images in every state, beside e2fsck, debugfs and the kernel.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use condatainer_core::check::{CheckError, Code, Fix, Report, Request, Severity, check};
use condatainer_core::ext::{Ids, probe};
use condatainer_core::lock::{Access, take};
use condatainer_core::user::Caller;
use support::{
    Bench, Mounted, Part, Seen, debugfs, debugfs_script, debugfs_write, fsck, rich_tree, sif, snapshot, stat,
    superblock_field, whole,
};

const RECIPE: &[&str] = &[
    "-t",
    "ext3",
    "-b",
    "4096",
    "-I",
    "256",
    "-m",
    "0",
    "-J",
    "size=4",
    "-O",
    "none,has_journal,ext_attr,resize_inode,dir_index,filetype,sparse_super,large_file",
];

fn root() -> Caller {
    Caller { uid: 0, gid: 0, name: "root".into(), home: None, shell: None, has_subids: false }
}

fn run(image: &Path, fix: Fix) -> Report {
    run_as(image, fix, root())
}

fn run_as(image: &Path, fix: Fix, caller: Caller) -> Report {
    check(image, &Request { fix, caller }, &mut |_, _| {}).unwrap_or_else(|e| panic!("{e}"))
}

fn refusal(image: &Path, fix: Fix) -> String {
    let before = fs::read(image).unwrap();
    let error = check(image, &Request { fix, caller: root() }, &mut |_, _| {}).expect_err("it must be refused");
    assert!(fs::read(image).unwrap() == before, "a refused image was changed");
    assert!(!error.to_string().contains('\n'), "{error}");
    error.to_string()
}

/// The kinds of errors, whether they were fixed or not.
fn errors(report: &Report) -> Vec<Code> {
    let errors = report.findings.iter().filter(|finding| finding.severity == Severity::Error);
    errors.map(|finding| finding.code).collect()
}

/// Looks without changing a byte; hands back what was found.
fn look(image: &Path) -> Vec<Code> {
    let before = fs::read(image).unwrap();
    let report = run(image, Fix::No);
    assert!(fs::read(image).unwrap() == before, "a look changed the image");
    assert_eq!(report.ok, errors(&report).is_empty());
    for finding in report.findings.iter().filter(|finding| finding.severity == Severity::Error) {
        assert!(!finding.fixed && !finding.message.contains('\n') && finding.cure.is_some(), "{finding:?}");
    }
    errors(&report)
}

/// Repairs; everything must be gone then, also for e2fsck, and nothing of ours left beside the image.
fn cured(bench: &Bench, image: &Path, fix: Fix) -> Report {
    let report = run(image, fix);
    assert!(report.ok && report.findings.iter().all(|f| f.fixed || f.severity == Severity::Note), "{report:#?}");
    assert_eq!((fsck(image), look(image)), (Ok(()), Vec::new()));
    assert_eq!(drafts(bench), Vec::<String>::new());
    report
}

fn drafts(bench: &Bench) -> Vec<String> {
    let names = fs::read_dir(bench.dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".check")).collect()
}

fn rich(bench: &Bench, name: &str, options: &[&str]) -> PathBuf {
    let tree = bench.path("rich");
    if !tree.exists() {
        rich_tree(&tree);
        fs::remove_file(tree.join("upper/.wh.deleted")).unwrap();
    }
    bench.image_of(name, options, 48, &tree)
}

/// Names, owners, modes and inode numbers, and one content.
fn content(image: &Path) -> (BTreeMap<String, Seen>, String) {
    (snapshot(image), debugfs(image, "cat /upper/usr/bin/sudo"))
}

fn ino(image: &Path, path: &str) -> u32 {
    snapshot(image)[path].ino
}

#[test]
fn a_sound_image() {
    let bench = Bench::new();
    let image = rich(&bench, "env.img", RECIPE);
    assert_eq!(look(&image), []);
    let before = fs::read(&image).unwrap();
    let report = run(&image, Fix::Force);
    assert!(report.ok && report.findings.is_empty() && report.kept.is_none(), "{report:#?}");
    assert!(fs::read(&image).unwrap() == before, "there was nothing to repair");
    assert_eq!((report.kind, report.other_owners, report.lost_and_found.len()), ("ext3", Some(0), 0));
    debugfs_write(&image, "sif /upper/var/cache/man uid 6");
    assert_eq!(run(&image, Fix::No).other_owners, Some(1));
}

/// What SIGKILL leaves of an image that fuse2fs has: the mark of a clean unmount is gone, and the bitmaps are stale.
#[test]
fn a_killed_fuse2fs() {
    let bench = Bench::new();
    let image = rich(&bench, "env.img", RECIPE);
    let before = content(&image);
    debugfs_write(&image, "ssv state 0");
    assert_eq!(look(&image), [Code::NotClean]);
    debugfs_script(&image, "setb 9000 20\nfreeb 5000\nfreei /upper/usr/bin/sudo\nssv free_blocks_count 1\n");
    assert_eq!(look(&image), [Code::NotClean, Code::StaleBitmaps, Code::WrongCounts]);
    let report = cured(&bench, &image, Fix::Safe);
    assert_eq!(errors(&report), [Code::NotClean, Code::StaleBitmaps, Code::WrongCounts]);
    assert_eq!(content(&image), before);
}

/// By itself e2fsck -p rebuilds them in place, and a kill in the middle of that takes names away.
#[test]
fn large_directories_are_not_rebuilt() {
    let bench = Bench::new();
    let image = rich(&bench, "env.img", RECIPE);
    let blocks = || debugfs(&image, "blocks /upper/many");
    let (before, flags) = (blocks(), "Flags: 0x0");
    assert!(before.split_whitespace().count() > 3 && debugfs(&image, "stat /upper/many").contains(flags));
    let plain = bench.path("plain.img");
    fs::copy(&image, &plain).unwrap();
    assert!(support::tool("e2fsck").args(["-fp"]).arg(&plain).status().unwrap().code() < Some(2));
    assert!(!debugfs(&plain, "stat /upper/many").contains(flags), "e2fsck does not do it any more");
    debugfs_write(&image, "ssv state 0");
    cured(&bench, &image, Fix::Safe);
    assert!(blocks() == before && debugfs(&image, "stat /upper/many").contains(flags));
    assert!(superblock_field(&image, "Filesystem features").contains("dir_index"), "it is to be seen again");
    debugfs_write(&image, "ssv state 0");
    let user = Ids { uid: 1000, gid: 1000 };
    let request =
        condatainer_core::chown::Request { replay: true, ..condatainer_core::chown::Request::new(user, user) };
    assert!(condatainer_core::chown::chown(&image, &request, &mut |_, _| {}).unwrap().replayed);
    assert!(blocks() == before && debugfs(&image, "stat /upper/many").contains(flags));
}

/// A copy of an image that the kernel has mounted and written to, as a crash would leave it.
fn crashed(bench: &Bench) -> (PathBuf, Mounted, PathBuf) {
    let (live, image) = (rich(bench, "live.img", RECIPE), bench.path("env.img"));
    let mounted = Mounted::new(&live, "rw");
    fs::write(mounted.at.path().join("upper/synced"), "synced").unwrap();
    fs::create_dir(mounted.at.path().join("upper/later")).unwrap();
    File::open(mounted.at.path().join("upper/later")).unwrap().sync_all().unwrap();
    File::open(mounted.at.path().join("upper/synced")).unwrap().sync_all().unwrap();
    fs::copy(&live, &image).unwrap();
    assert!(probe(&File::open(&image).unwrap(), whole(&image)).unwrap().state.needs_recovery);
    (image, mounted, live)
}

#[test]
fn a_journal_is_replayed_before_anything_else() {
    let bench = Bench::new();
    let (image, mounted, live) = crashed(&bench);
    for fix in [Fix::No, Fix::Force] {
        let message = check(&live, &Request { fix, caller: root() }, &mut |_, _| {}).unwrap_err().to_string();
        assert!(message.contains("is in use (attached to /dev/loop"), "{message}");
    }
    drop(mounted);
    assert_eq!(look(&image), [Code::NeedsRecovery], "nothing else can be told before the replay");
    let report = cured(&bench, &image, Fix::Safe);
    assert!(errors(&report).contains(&Code::NeedsRecovery), "{report:#?}");
    assert_eq!(debugfs(&image, "cat /upper/synced"), "synced");
    assert!(snapshot(&image).contains_key("/upper/later"));
}

/// A missing directory is made only after the replay; made before, it would be undone or worse.
#[test]
fn a_journal_is_replayed_before_a_directory_is_made() {
    let bench = Bench::new();
    let (image, mounted, _) = crashed(&bench);
    drop(mounted);
    debugfs_write(&image, "unlink work");
    assert!(probe(&File::open(&image).unwrap(), whole(&image)).unwrap().state.needs_recovery);
    assert_eq!(look(&image), [Code::NeedsRecovery]);
    run(&image, Fix::Force);
    assert_eq!(debugfs(&image, "cat /upper/synced"), "synced");
    assert_eq!(look(&image), []);
}

#[test]
fn recorded_errors() {
    let bench = Bench::new();
    let image = rich(&bench, "env.img", RECIPE);
    let before = content(&image);
    debugfs_script(&image, "ssv error_count 3\n");
    assert_eq!(look(&image), [Code::ErrorsRecorded]);
    cured(&bench, &image, Fix::Safe);
    debugfs_script(&image, "ssv state 3\n");
    assert_eq!(look(&image), [Code::ErrorsRecorded]);
    cured(&bench, &image, Fix::Safe);
    assert_eq!(content(&image), before);
}

#[test]
fn orphans() {
    let bench = Bench::new();
    let image = rich(&bench, "env.img", RECIPE);
    let orphan = ino(&image, "/upper/foreign");
    debugfs_script(
        &image,
        &format!(
            "unlink /upper/foreign\nsif <{orphan}> links_count 0\nsif <{orphan}> dtime 0\nssv last_orphan {orphan}\n"
        ),
    );
    let found = look(&image);
    assert!(found.contains(&Code::OrphanedInodes), "{found:?}");
    let before = content(&image);
    let report = cured(&bench, &image, Fix::Safe);
    assert!(errors(&report).contains(&Code::OrphanedInodes));
    assert_eq!(content(&image), before);
}

#[test]
fn what_could_lose_data_is_done_on_a_copy_and_only_when_asked() {
    let bench = Bench::new();
    let image = rich(&bench, "env.img", RECIPE);
    fs::set_permissions(&image, fs::Permissions::from_mode(0o640)).unwrap();
    let block = debugfs(&image, "bmap /upper/usr/bin/sudo 0");
    debugfs_write(&image, &format!("sif /upper/var/cache/man/index block[0] {}", block.trim()));
    let found = run(&image, Fix::No);
    assert!(errors(&found).contains(&Code::SharedBlocks), "{found:#?}");
    let cures: Vec<&String> = found.findings.iter().filter_map(|finding| finding.cure.as_ref()).collect();
    assert!(cures.iter().all(|cure| cure.contains("--fix=force")), "{cures:?}");

    let (names, sudo) = content(&image);
    let report = run(&image, Fix::Safe);
    assert!(!report.ok && report.kept.is_none() && errors(&report).contains(&Code::SharedBlocks), "{report:#?}");
    assert_eq!(content(&image), (names.clone(), sudo.clone()), "the safe repair lost something");

    let report = cured(&bench, &image, Fix::Force);
    assert_eq!(content(&image), (names.clone(), sudo.clone()));
    let kept = report.kept.unwrap();
    assert_eq!(kept, fs::canonicalize(&image).unwrap().with_file_name("env.img.damaged"));
    assert_eq!(content(&kept), (names, sudo));
    assert!(fsck(&kept).is_err(), "the original was not kept");
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!((mode(&image), mode(&kept)), (0o640, 0o640));
}

#[test]
fn files_without_names_are_found_again() {
    let bench = Bench::new();
    let image = rich(&bench, "env.img", RECIPE);
    debugfs_write(&image, "unlink /upper/var");
    let found = look(&image);
    assert!(found.contains(&Code::UnattachedFiles), "{found:?}");
    assert!(!run(&image, Fix::Safe).ok);
    let report = cured(&bench, &image, Fix::Force);
    let [name] = &report.lost_and_found[..] else { panic!("{report:#?}") };
    let note = report.findings.iter().find(|finding| finding.code == Code::LostAndFound).unwrap();
    assert!(note.severity == Severity::Note && note.cure.as_ref().unwrap().contains("rdump /lost+found"));
    assert!(snapshot(&image).contains_key(&format!("/lost+found/{name}/cache/man/index")));
}

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
        let before = fs::read(&image).unwrap();
        let report = run(&image, Fix::Force);
        assert!(!report.ok && fs::read(&image).unwrap() == before, "{report:#?}");
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
        let before = fs::read(&image).unwrap();
        let report = run(&image, Fix::Force);
        assert!(!report.ok && fs::read(&image).unwrap() == before, "half a conversion is none: {report:#?}");
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
}

#[test]
fn others_at_work() {
    let bench = Bench::new();
    let image = rich(&bench, "env.img", RECIPE);
    let file = File::options().read(true).write(true).open(&image).unwrap();
    let reader = take(&file, whole(&image), Access::Read).unwrap();
    let report = run(&image, Fix::No);
    assert!(report.ok && report.readers);
    // As the fuse2fs of a reader marks it.
    debugfs_write(&image, "ssv state 0");
    assert!(run(&image, Fix::No).ok, "in use is not dirty");
    assert!(refusal(&image, Fix::Safe).contains("locked for reading"));
    drop(reader);
    let writer = take(&file, whole(&image), Access::Write).unwrap();
    for fix in [Fix::No, Fix::Safe, Fix::Force] {
        assert!(refusal(&image, fix).contains("locked for writing"));
    }
    drop((writer, file));
    let stdin = Stdio::from(File::open(&image).unwrap());
    let mut child = Command::new("sleep").arg("60").stdin(stdin).spawn().unwrap();
    let messages = [Fix::No, Fix::Safe].map(|fix| refusal(&image, fix));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        messages.iter().all(|message| message.contains(&format!("open in sleep, pid {}", child.id()))),
        "{messages:?}"
    );
    cured(&bench, &image, Fix::Safe);
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
fn what_is_no_image_is_an_error() {
    let bench = Bench::new();
    let whole = rich(&bench, "env.img", RECIPE);
    let bytes = fs::read(&whole).unwrap();
    let mut odd = bytes.clone();
    odd[1024 + 0x28..1024 + 0x2C].fill(0xFF);
    let cases: [(&[u8], &str); 5] = [
        (&bytes[..5 << 20], "is truncated"),
        (b"no image", "is a text file"),
        (&[], "is empty"),
        (&odd, "is damaged"),
        (&bytes[..1500], "is not an image"),
    ];
    for (content, reason) in cases {
        let path = bench.path("odd");
        fs::write(&path, content).unwrap();
        for fix in [Fix::No, Fix::Force] {
            let message = refusal(&path, fix);
            assert!(message.contains(reason), "{reason}: {message}");
        }
    }
    let missing = check(&bench.path("none"), &Request { fix: Fix::No, caller: root() }, &mut |_, _| {}).unwrap_err();
    assert!(missing.to_string().contains("no such file"), "{missing}");
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

#[test]
fn progress_comes_to_its_end() {
    let bench = Bench::new();
    let image = rich(&bench, "env.img", RECIPE);
    let mut seen = Vec::new();
    check(&image, &Request { fix: Fix::No, caller: root() }, &mut |done, total| seen.push((done, total))).unwrap();
    assert!(seen.is_sorted() && seen.len() > 3 && seen.last() == Some(&(100, 100)), "{seen:?}");
}

/// Run by the test below in a mount namespace where e2fsck is hidden; by itself it does nothing.
#[test]
fn without_e2fsck() {
    let Some(image) = std::env::var_os("CONDATAINER_TEST_NO_E2FSCK") else { return };
    let error = check(Path::new(&image), &Request { fix: Fix::No, caller: root() }, &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, CheckError::Tool { .. }), "{error}");
    assert!(error.to_string().ends_with("e2fsck was not found; install the package e2fsprogs"), "{error}");
}

#[test]
fn a_missing_tool_is_named_with_its_package() {
    let bench = Bench::new();
    let image = rich(&bench, "env.img", RECIPE);
    let hide = "for f in /usr/local/sbin /usr/bin /usr/sbin /sbin /bin; do [ ! -e $f/e2fsck ] || mount --bind /dev/null $(realpath $f/e2fsck) || exit 9; done; exec \"$0\" --exact without_e2fsck";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", hide]).arg(std::env::current_exe().unwrap());
    let output = command
        .env("CONDATAINER_TEST_NO_E2FSCK", &image)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap();
    assert!(support::ok(output, "without e2fsck").contains("1 passed"));
}
