//! A create that is killed at any instant leaves nothing at the path, or a complete image; and of two at once exactly one works.
//!
//! Fifty instants in every run of the tests, five hundred with CONDATAINER_SOAK set.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

use std::env;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use condatainer_formats::ext::{Ids, probe};
use condatainer_images::temporary::on_signal;
use condatainer_images::verbs::create::{Contents, MIN_SIZE, Spec, create};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{Bench, fsck, quicker_of_two, victim_command, whole};

const USER: Ids = Ids { uid: 1_234_567, gid: 70_001 };
const IMAGE: &str = "CONDATAINER_TEST_CREATE_KILLED_IMAGE";
const TMPDIR: &str = "CONDATAINER_TEST_CREATE_KILLED_TMPDIR";
const CONTENTS: &str = "CONDATAINER_TEST_CREATE_KILLED_CONTENTS";
/// Set where the process is to wait in the middle, showing that by this file.
const HALT: &str = "CONDATAINER_TEST_CREATE_KILLED_HALT";

/// Not a test of its own, but the process that is killed: this test binary, started again with an image to make.
#[test]
fn victim() {
    let Some(image) = env::var_os(IMAGE) else { return };
    on_signal::remove_on_signals().unwrap();
    let halt = env::var_os(HALT);
    let contents = env::var_os(CONTENTS).map(PathBuf::from).map(|directory| {
        let meta = directory.metadata().unwrap();
        Contents { directory, owner: Ids { uid: meta.uid(), gid: meta.gid() } }
    });
    let spec = Spec {
        contents,
        tmpdir: env::var_os(TMPDIR).map(PathBuf::from),
        allocate: halt.is_some(),
        ..Spec::new(image.into(), MIN_SIZE, USER)
    };
    let mut wait = |_, _| {
        if let Some(halt) = &halt {
            File::create(halt).unwrap();
            std::thread::sleep(Duration::from_secs(60));
        }
    };
    create(&spec, &mut wait).unwrap();
}

fn victim_of(image: &Path) -> Command {
    let mut command = victim_command();
    command.env(IMAGE, image);
    command
}

fn start(image: &Path, tmpdir: Option<&Path>, contents: Option<&Path>) -> Child {
    let mut command = victim_of(image);
    for (name, path) in [(TMPDIR, tmpdir), (CONTENTS, contents)] {
        command.envs(path.map(|path| (name, path)));
    }
    command.spawn().unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn assert_complete(image: &Path) {
    assert_eq!(fsck(image), Ok(()));
    let probe = probe(&File::open(image).unwrap(), whole(image)).unwrap();
    assert_eq!((probe.upper.owner().unwrap().ids(), probe.work.owner().unwrap().ids()), (USER, USER));
    assert_eq!((whole(image).size, probe.apptainer), (MIN_SIZE, Ok(())));
}

#[test]
fn at_any_instant() {
    let instants = if env::var_os("CONDATAINER_SOAK").is_some() { 500 } else { 50 };
    let (bench, far) = (Bench::on_disk(), tempfile::tempdir_in("/dev/shm").unwrap());
    // What somebody else has made becomes the owner's before anybody sees it.
    let given = tempfile::tempdir().unwrap();
    for name in ["upper", "work"] {
        fs::create_dir(given.path().join(name)).unwrap();
        fs::set_permissions(given.path().join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    (0..500).for_each(|number| fs::write(given.path().join(format!("upper/{number}")), "made").unwrap());
    for (tmpdir, contents) in [(None, None), (Some(far.path()), None), (None, Some(given.path()))] {
        let image = bench.path("env.img");
        let whole_run = quicker_of_two(|| {
            let begin = Instant::now();
            assert!(start(&image, tmpdir, contents).wait().unwrap().success());
            fs::remove_file(&image).unwrap();
            begin.elapsed()
        });
        let (mut unfinished, mut drafts, mut runs) = (0, 0, 0);
        let deadline = Instant::now() + Duration::from_secs(300);
        // A quick machine may need more of them until some came in the middle.
        while runs < instants / 2 || unfinished < 4 || drafts == 0 {
            assert!(runs < instants / 2 || Instant::now() < deadline, "the kills came too late or too early");
            let instant = runs % (instants / 2);
            runs += 1;
            let mut child = start(&image, tmpdir, contents);
            std::thread::sleep(whole_run * instant / (instants / 2 - 1));
            child.kill().unwrap();
            child.wait().unwrap();
            let left = names(bench.dir.path());
            let mut all = left.iter().cloned().chain(names(far.path()));
            drafts += u32::from(all.any(|name| name.ends_with(".new")));
            if image.exists() {
                assert_complete(&image);
                fs::remove_file(&image).unwrap();
            } else {
                unfinished += 1;
            }
            // The next one works, and tidies up; or the one after it, where a tool has outlived its master for a moment and
            // still holds the draft.
            let deadline = Instant::now() + Duration::from_secs(120);
            loop {
                assert!(start(&image, tmpdir, contents).wait().unwrap().success(), "after {left:?}");
                assert_complete(&image);
                let after = (names(bench.dir.path()), names(far.path()).len());
                fs::remove_file(&image).unwrap();
                if after == (vec!["env.img".into()], 0) {
                    break;
                }
                assert!(Instant::now() < deadline, "after {left:?}: {after:?}");
            }
        }
        eprintln!("{tmpdir:?}, {contents:?}: of {runs} runs {unfinished} made nothing, {drafts} left a draft");
    }
}

#[test]
fn a_signal_takes_the_draft_away() {
    let bench = Bench::new();
    let (image, halted) = (bench.path("env.img"), bench.path("halted"));
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let mut child = victim_of(&image).env(HALT, &halted).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(120);
        while !halted.exists() {
            assert!(child.try_wait().unwrap().is_none() && Instant::now() < deadline, "it never came to the middle");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(names(bench.dir.path()).len(), 2, "the draft and the sign");
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(signal as i32));
        assert_eq!(names(bench.dir.path()), ["halted"], "{signal}");
        fs::remove_file(&halted).unwrap();
    }
}

#[test]
fn a_live_draft_is_left_alone() {
    let bench = Bench::new();
    let (image, halted) = (bench.path("env.img"), bench.path("halted"));
    let mut child = victim_of(&image).env(HALT, &halted).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    while !halted.exists() {
        assert!(child.try_wait().unwrap().is_none() && Instant::now() < deadline, "it never came to the middle");
        std::thread::sleep(Duration::from_millis(5));
    }
    let made = create(&Spec::new(bench.path("other.img"), MIN_SIZE, USER), &mut |_, _| {}).unwrap();
    assert_eq!((made.swept.len(), names(bench.dir.path()).len()), (0, 3));
    child.kill().unwrap();
    child.wait().unwrap();
    let made = create(&Spec::new(bench.path("third.img"), MIN_SIZE, USER), &mut |_, _| {}).unwrap();
    assert_eq!((made.swept.len(), names(bench.dir.path()).len()), (1, 3));
}

#[test]
fn of_two_at_once_exactly_one_works() {
    let bench = Bench::new();
    for _ in 0..10 {
        let image = bench.path("env.img");
        let racers: Vec<Child> = (0..3).map(|_| start(&image, None, None)).collect();
        let won = racers.into_iter().map(|mut child| child.wait().unwrap().success());
        assert_eq!(won.filter(|&success| success).count(), 1);
        assert_complete(&image);
        assert_eq!(names(bench.dir.path()), ["env.img"]);
        fs::remove_file(&image).unwrap();
    }
}
