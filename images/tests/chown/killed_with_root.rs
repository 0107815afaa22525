//! A loan that is killed at any instant leaves a sound image, and the next use of it finishes the way back.
//!
//! Thirty instants in every run of the tests, a thousand with CONDATAINER_SOAK set.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use condatainer_formats::ext::Ids;
use condatainer_images::verbs::chown::{Request, chown};
use condatainer_images::verbs::with_root::{self, Lent};
use nix::sys::signal::Signal;
use support::{Bench, Victim, add_files, copy, debugfs_write, fsck, instants, quicker_of_two, rich_tree, some_of};

const USER: Ids = Ids { uid: 1_234_567, gid: 70_001 };
const IMAGE: &str = "CONDATAINER_TEST_WITH_ROOT_IMAGE";
const FILES: u32 = 4_000;

/// Not a test of its own, but the process that is killed: this test binary, started again with an image to work on. Where a
/// command would run, it waits as long as a short one takes.
#[test]
fn victim() {
    if let Some(image) = env::var_os(IMAGE) {
        let Lent { owner, noted, .. } = with_root::lend(Path::new(&image)).unwrap();
        assert!(noted);
        std::thread::sleep(Duration::from_millis(5));
        with_root::give_back(Path::new(&image), owner.unwrap()).unwrap();
    }
}

/// An image of the user's, in which one file belongs to another.
fn original(bench: &Bench) -> PathBuf {
    let tree = bench.path("rich");
    rich_tree(&tree);
    add_files(&tree, FILES, |_| String::new());
    let image = bench.image_of("original", &["-t", "ext3", "-N", "8000"], 32, &tree);
    debugfs_write(&image, "sif /upper/var/cache/man/index uid 6");
    chown(&image, &Request::new(USER, USER), &mut |_, _| {}).unwrap();
    image
}

/// Whether all of it belongs to the user, but what belongs to others.
fn is_the_users(image: &Path) -> bool {
    let dry = Request { dry_run: true, ..Request::new(USER, USER) };
    let report = chown(image, &dry, &mut |_, _| {}).unwrap();
    let to_flatten = Request { all: true, ..dry };
    let others = chown(image, &to_flatten, &mut |_, _| {}).unwrap().changed;
    (report.before, report.changed, others) == (USER, 0, 1)
}

#[test]
fn at_any_instant() {
    let bench = Bench::new();
    let original = original(&bench);
    assert!(is_the_users(&original));
    let image = bench.path("victim.img");
    let whole_run = quicker_of_two(|| {
        copy(&original, &image);
        Victim::start(IMAGE, &image).finish()
    });
    assert!(is_the_users(&image) && with_root::finish(&image).is_none(), "undisturbed");
    let (mut on_the_way, instants) = (0, instants());
    for _ in 0..instants {
        copy(&original, &image);
        let delay = some_of(whole_run);
        Victim::start(IMAGE, &image).end_after(delay, Signal::SIGKILL);
        assert_eq!(fsck(&image), Ok(()), "after {delay:?}");
        if let Some(finished) = with_root::finish(&image) {
            assert_eq!(finished.unwrap(), USER);
            on_the_way += 1;
        }
        assert!(is_the_users(&image), "after {delay:?}");
        assert_eq!(fsck(&image), Ok(()));
    }
    eprintln!("{on_the_way} of {instants} were killed while the image was on loan");
    assert!(on_the_way > instants / 5, "only {on_the_way} of {instants}");
}

#[test]
fn a_loan_of_a_loan_goes_back_to_the_first_owner() {
    let bench = Bench::new();
    let image = original(&bench);
    for _ in 0..2 {
        assert_eq!(with_root::lend(&image).unwrap().owner, Some(USER));
    }
    assert!(with_root::finish(&image).is_none(), "this process is at work");
    with_root::give_back(&image, USER).unwrap();
    assert!(is_the_users(&image));
}

#[test]
fn a_chown_ends_a_loan() {
    let bench = Bench::new();
    let image = original(&bench);
    with_root::lend(&image).unwrap();
    chown(&image, &Request::new(Ids::ROOT, USER), &mut |_, _| {}).unwrap();
    assert_eq!(with_root::lend(&image).unwrap().owner, None, "it is root's own now");
}
