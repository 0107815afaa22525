//! A chown that is killed at any instant leaves a sound image, and doing it again completes it.
//!
//! Thirty instants in every run of the tests, a thousand with CONDATAINER_SOAK set.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

use std::env;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use condatainer_formats::ext::{Ids, probe};
use condatainer_images::verbs::chown::{Request, chown};
use nix::sys::signal::Signal;
use support::{Bench, Victim, add_files, copy, fsck, instants, quicker_of_two, rich_tree, some_of, whole};

const USER: Ids = Ids { uid: 1_234_567, gid: 70_001 };
const IMAGE: &str = "CONDATAINER_TEST_KILLED_IMAGE";
const FILES: u32 = 20_000;

/// Not a test of its own, but the process that is killed: this test binary, started again with an image to work on.
#[test]
fn victim() {
    if let Some(image) = env::var_os(IMAGE) {
        chown(Path::new(&image), &Request::new(Ids::ROOT, USER), &mut |_, _| {}).unwrap();
    }
}

fn large(bench: &Bench, options: &[&str]) -> PathBuf {
    let tree = bench.path("rich");
    rich_tree(&tree);
    add_files(&tree, FILES, |_| String::new());
    let image = bench.image_of("original", options, 48, &tree);
    // Every file but those of a system user is to change in the run that is killed.
    support::debugfs_write(&image, "sif /upper/var/cache/man/index uid 6");
    chown(&image, &Request::new(USER, USER), &mut |_, _| {}).unwrap();
    assert_eq!(fsck(&image), Ok(()));
    image
}

#[test]
fn at_any_instant() {
    let kinds = [&["-t", "ext3", "-N", "40000"][..], &["-t", "ext4", "-N", "40000"]];
    let instants = instants() / kinds.len() as u32;
    for options in kinds {
        let bench = Bench::new();
        let original = large(&bench, options);
        let image = bench.path("victim.img");
        let whole_run = quicker_of_two(|| {
            copy(&original, &image);
            Victim::start(IMAGE, &image).finish()
        });
        let (mut unfinished, mut halfway) = (0, 0);
        for _ in 0..instants {
            copy(&original, &image);
            let left = kill_after(&image, some_of(whole_run));
            unfinished += u32::from(left > 0);
            halfway += u32::from((1..u64::from(FILES)).contains(&left));
            finish(&image);
        }
        eprintln!("{options:?}: of {instants} runs {unfinished} were cut off, {halfway} of them among the writes");
        assert!(unfinished > instants / 5, "only {unfinished} of {instants} were cut off");
    }
}

/// Kills a run after `delay`; tells how many inodes were left to be changed.
fn kill_after(image: &Path, delay: Duration) -> u64 {
    Victim::start(IMAGE, image).end_after(delay, Signal::SIGKILL);
    assert_eq!(fsck(image), Ok(()), "after {delay:?}");
    let upper = probe(&File::open(image).unwrap(), whole(image)).unwrap().upper.owner().unwrap().ids();
    let dry = Request { dry_run: true, ..Request::new(Ids::ROOT, USER) };
    let left = chown(image, &dry, &mut |_, _| {}).unwrap().changed;
    // The owner of upper is the mark: either it is the old one, or all is done.
    assert!(upper == USER || (upper == Ids::ROOT && left == 0), "after {delay:?}: {upper} with {left} left");
    left
}

fn finish(image: &Path) {
    let request = Request::new(Ids::ROOT, USER);
    chown(image, &request, &mut |_, _| {}).unwrap();
    assert_eq!(fsck(image), Ok(()));
    let report = chown(image, &request, &mut |_, _| {}).unwrap();
    assert_eq!((report.changed, report.before), (0, Ids::ROOT));
    assert!(report.scanned > u64::from(FILES));
}
