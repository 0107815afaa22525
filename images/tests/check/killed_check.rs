//! A repair that is killed at any instant loses nothing, and doing it again completes it.
//!
//! Ten instants for each way of repairing in every run of the tests, fifty with CONDATAINER_SOAK set; half of the kills hit us
//! alone, so that the tool that we started goes on, and half hit the tool too.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use condatainer_images::acquire::AcquireError;
use condatainer_images::system::user::Caller;
use condatainer_images::temporary::on_signal;
use condatainer_images::verbs::check::{CheckError, Fix, Report, Request, check};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use support::{
    Bench, Seen, add_files, copy, debugfs, debugfs_script, debugfs_write, end_once, fsck, names_in, rich_tree,
    snapshot, until_seen, victim_command,
};

const IMAGE: &str = "CONDATAINER_TEST_KILLED_CHECK";
const FORCE: &str = "CONDATAINER_TEST_KILLED_FORCE";
const FILES: u32 = 8000;
const RECIPE: &[&str] = &["-t", "ext3", "-b", "4096", "-N", "40000", "-J", "size=4"];

fn repair(image: &Path, fix: Fix) -> Result<Report, CheckError> {
    let caller = Caller { uid: 0, gid: 0, name: "root".into(), home: None, shell: None, has_subids: false };
    check(image, &Request { fix, caller }, &mut |_, _| {})
}

/// Not a test of its own, but the process that is killed: this test binary, started again with an image to work on.
#[test]
fn victim() {
    if let Some(image) = env::var_os(IMAGE) {
        on_signal::remove_on_signals().unwrap();
        let fix = if env::var_os(FORCE).is_some() { Fix::Force } else { Fix::Safe };
        repair(Path::new(&image), fix).unwrap();
    }
}

fn start(image: &Path, fix: Fix) -> Child {
    let mut command = victim_command();
    command.env(IMAGE, image);
    if fix == Fix::Force {
        command.env(FORCE, "1");
    }
    command.process_group(0).spawn().unwrap()
}

/// An image with thousands of files, whose damage is made by `damage`.
fn damaged(bench: &Bench, damage: impl Fn(&Path)) -> PathBuf {
    let tree = bench.path("rich");
    rich_tree(&tree);
    fs::remove_file(tree.join("upper/.wh.deleted")).unwrap();
    add_files(&tree, FILES, |number| number.to_string());
    let image = bench.image_of("original", RECIPE, 96, &tree);
    assert_eq!(fsck(&image), Ok(()));
    damage(&image);
    image
}

/// Kills a run at every instant, half of them with the tool that is at work.
fn at_any_instant(bench: &Bench, original: &Path, fix: Fix, hold: impl Fn(&Path)) {
    let instants = if env::var_os("CONDATAINER_SOAK").is_some() { 50 } else { 10 };
    let image = bench.path("victim.img");
    copy(original, &image);
    let whole_run = Instant::now();
    assert!(start(&image, fix).wait().unwrap().success());
    let whole_run = whole_run.elapsed();
    let mut unfinished = 0;
    for instant in 0..instants {
        copy(original, &image);
        kill_after(&image, fix, whole_run * instant / instants, instant % 2 == 0);
        hold(&image);
        let report = rerun(&image, fix);
        unfinished += u32::from(!report.findings.is_empty());
        hold(&image);
        assert_eq!(fsck(&image), Ok(()));
        let drafts =
            fs::read_dir(bench.dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(drafts.filter(|name| name.ends_with(".check")).count(), 0);
    }
    eprintln!("of {instants} runs {unfinished} were cut off, the whole takes {whole_run:?}");
    assert!(unfinished >= instants / 10, "only {unfinished} of {instants} were cut off");
}

fn kill_after(image: &Path, fix: Fix, delay: Duration, with_tools: bool) {
    let mut child = start(image, fix);
    std::thread::sleep(delay);
    let pid = Pid::from_raw(child.id().cast_signed());
    // It may have ended by itself.
    let _ = if with_tools { killpg(pid, Signal::SIGKILL) } else { kill(pid, Signal::SIGKILL) };
    child.wait().unwrap();
}

/// A tool that outlives us keeps our lock, so that nobody comes between; then the repair is done again.
fn rerun(image: &Path, fix: Fix) -> Report {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match repair(image, fix) {
            Err(CheckError::Acquire(AcquireError::Busy { .. })) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            other => {
                let report = other.unwrap();
                assert!(report.ok, "{report:#?}");
                return report;
            }
        }
    }
}

/// Says only what differs: an image has thousands of names.
fn same(now: &BTreeMap<String, Seen>, before: &BTreeMap<String, Seen>) {
    let missing: Vec<_> = before.iter().filter(|(path, seen)| now.get(*path) != Some(seen)).take(5).collect();
    assert!(
        missing.is_empty() && now.len() == before.len(),
        "{} of {} names, not: {missing:?}",
        now.len(),
        before.len()
    );
}

/// Its large directories have no index, as those that fuse2fs has written: e2fsck -p by itself rebuilds them, and can be killed
/// halfway.
#[test]
fn a_preen() {
    let bench = Bench::new();
    let original = damaged(&bench, |image| {
        debugfs_script(
            image,
            "ssv state 0\nsetb 20000 900\nfreei /upper/opt/3/3001\nfreei /upper/opt\nssv free_blocks_count 1\n",
        );
    });
    let before = snapshot(&original);
    at_any_instant(&bench, &original, Fix::Safe, |image| same(&snapshot(image), &before));
}

/// A signal that can be heard leaves nothing behind: no copy, and no note.
#[test]
fn a_signal_takes_the_copy_away() {
    // Not in memory, where the copy may be gone before it is seen.
    let bench = Bench::on_disk();
    let original = damaged(&bench, |image| debugfs_script(image, "rmdir /work/work\nrmdir /work\n"));
    let directory = bench.path("alone");
    fs::create_dir(&directory).unwrap();
    let image = directory.join("env.img");
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let ended = until_seen(|| {
            copy(&original, &image);
            let has_copy = || names_in(&directory).iter().any(|name| name.ends_with(".check"));
            end_once(&mut start(&image, Fix::Safe), has_copy, signal)
        });
        assert_eq!(ended.signal(), Some(signal as i32), "{ended}");
        assert_eq!(names_in(&directory), ["env.img"], "{signal}");
        rerun(&image, Fix::Safe);
        assert_eq!(names_in(&directory), ["env.img"]);
    }
}

#[test]
fn a_directory_made_on_a_copy() {
    let bench = Bench::new();
    let original = damaged(&bench, |image| {
        debugfs_script(image, "rmdir /work/work\nrmdir /work\n");
        assert_eq!(fsck(image), Ok(()));
    });
    let before = snapshot(&original);
    at_any_instant(&bench, &original, Fix::Safe, |image| {
        // Either the image as it was, or the complete one.
        assert_eq!(fsck(image), Ok(()));
        let mut now = snapshot(image);
        now.remove("/work");
        same(&now, &before);
    });
}

#[test]
fn everything_that_e2fsck_proposes() {
    let bench = Bench::new();
    let original = damaged(&bench, |image| {
        let block = debugfs(image, "bmap /upper/usr/bin/sudo 0");
        debugfs_write(image, &format!("sif /upper/var/cache/man/index block[0] {}", block.trim()));
    });
    let before = snapshot(&original);
    at_any_instant(&bench, &original, Fix::Force, |image| same(&snapshot(image), &before));
}
