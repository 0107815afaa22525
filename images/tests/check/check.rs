//! Check of file systems in every state, beside e2fsck, debugfs and the kernel.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use condatainer_formats::ext::{Ids, probe};
use condatainer_images::lock::{Access, take};
use condatainer_images::verbs::check::{CheckError, Code, Fix, Request, Severity, check};
use condatainer_images::verbs::chown::{self, chown};
use support::checking::{RECIPE, content, cured, errors, ino, look, refusal, rich, root, run};
use support::{
    Bench, Mounted, bytes_of, copy, debugfs, debugfs_script, debugfs_write, fsck, snapshot, superblock_field, whole,
};

#[test]
fn a_sound_image() {
    let bench = Bench::new();
    let image = rich(&bench, "env.img", RECIPE);
    assert_eq!(look(&image), []);
    let before = bytes_of(&image);
    let report = run(&image, Fix::Force);
    assert!(report.ok && report.findings.is_empty() && report.kept.is_none(), "{report:#?}");
    assert!(bytes_of(&image) == before, "there was nothing to repair");
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
    copy(&image, &plain);
    assert!(support::tool("e2fsck").args(["-fp"]).arg(&plain).status().unwrap().code() < Some(2));
    assert!(!debugfs(&plain, "stat /upper/many").contains(flags), "e2fsck does not do it any more");
    debugfs_write(&image, "ssv state 0");
    cured(&bench, &image, Fix::Safe);
    assert!(blocks() == before && debugfs(&image, "stat /upper/many").contains(flags));
    assert!(superblock_field(&image, "Filesystem features").contains("dir_index"), "it is to be seen again");
    debugfs_write(&image, "ssv state 0");
    let user = Ids { uid: 1000, gid: 1000 };
    let request = chown::Request { replay: true, ..chown::Request::new(user, user) };
    assert!(chown(&image, &request, &mut |_, _| {}).unwrap().replayed);
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
    copy(&live, &image);
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

/// Without leave to repair, e2fsck gives up at a directory that is none. It is damage all the same, and repaired with leave.
#[test]
fn a_directory_that_was_overwritten() {
    let bench = Bench::new();
    let image = rich(&bench, "env.img", RECIPE);
    let block: u64 = debugfs(&image, "bmap /upper/var/cache/man 0").trim().parse().unwrap();
    let block_size: u64 = debugfs(&image, "stats -h")
        .lines()
        .find_map(|line| line.strip_prefix("Block size:"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let rubbish = vec![0xA5; usize::try_from(block_size).unwrap()];
    File::options().write(true).open(&image).unwrap().write_all_at(&rubbish, block * block_size).unwrap();
    assert!(!look(&image).is_empty());
    let safe = run(&image, Fix::Safe);
    assert!(
        !safe.ok
            && safe
                .findings
                .iter()
                .any(|finding| finding.cure.as_ref().is_some_and(|cure| cure.contains("--fix=force"))),
        "{safe:#?}"
    );
    let report = run(&image, Fix::Force);
    assert!(report.ok && report.kept.is_some(), "{report:#?}");
    assert_eq!(fsck(&image), Ok(()));
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
