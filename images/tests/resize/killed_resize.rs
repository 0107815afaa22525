//! A resize that is killed at any instant leaves the image as it was or resized, and doing it again completes it.
//!
//! Thirty instants in every run of the tests, a thousand with CONDATAINER_SOAK set.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, thread};

use condatainer_images::acquire::holder::note_path;
use condatainer_images::temporary::on_signal;
use condatainer_images::verbs::resize::{Report, Request, ResizeError, Wish, resize};
use nix::sys::signal::Signal;
use support::{Bench, Mounted, Victim, contents, copy, fsck, instants, names_in, quicker_of_two, some_of, until_seen};

const SIGNALS: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];
const JOB: &str = "CONDATAINER_TEST_KILLED_RESIZE";
const MIB: u64 = 1 << 20;
const SMALL: u64 = 64 * MIB;
const LARGE: u64 = 160 * MIB;

/// Not a test of its own, but the process that is killed: this test binary, started again with a job: how, to which size, and
/// which image.
#[test]
fn victim() {
    let Some(job) = env::var_os(JOB) else { return };
    let job = job.into_string().unwrap();
    let [how, size, image] = job.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{job}") };
    on_signal::remove_on_signals().unwrap();
    let request = Request { in_place: how == "in-place", ..Request::new(Wish::To(size.parse().unwrap())) };
    resize(Path::new(image), &request, &mut |_| {}).unwrap();
}

fn start(how: &str, size: u64, image: &Path) -> Victim {
    Victim::start(JOB, format!("{how} {size} {}", image.display()))
}

/// One direction: an image of the other size, and what is in it.
struct Case {
    original: PathBuf,
    content: BTreeMap<PathBuf, String>,
    from: u64,
    to: u64,
    image: PathBuf,
    whole_run: Duration,
}

impl Case {
    /// The image that is worked on has a directory to itself.
    fn new(bench: &Bench, from: u64, to: u64) -> Self {
        let original = bench.image(&format!("{from}.img"), &["-t", "ext3"], from / MIB);
        fill(&original, from);
        let directory = bench.path(&format!("{from}"));
        fs::create_dir(&directory).unwrap();
        let (content, image) = (contents(&original), directory.join("env.img"));
        let mut case = Self { original, content, from, to, image, whole_run: Duration::ZERO };
        case.whole_run = quicker_of_two(|| {
            case.renew();
            start("copy", to, &case.image).finish()
        });
        assert_eq!(case.look(), to);
        case
    }

    fn renew(&self) {
        copy(&self.original, &self.image);
    }

    /// The image must be sound and complete; tells its size.
    fn look(&self) -> u64 {
        assert_eq!(fsck(&self.image), Ok(()));
        assert!(contents(&self.image) == self.content);
        let size = fs::metadata(&self.image).unwrap().len();
        assert!(size == self.from || size == self.to, "{size}");
        size
    }

    /// Runs to its end what was killed.
    fn complete(&self) -> Report {
        let report = resize(&self.image, &Request::new(Wish::To(self.to)), &mut |_| {}).unwrap();
        assert_eq!((self.look(), names_in(self.image.parent().unwrap())), (self.to, vec!["env.img".into()]));
        report
    }
}

/// Data in many small files and some large ones; towards the end of the image where it is to be shrunk.
fn fill(image: &Path, size: u64) {
    let mounted = Mounted::new(image, "rw");
    let upper = mounted.at.path().join("upper");
    let ballast = upper.join("ballast");
    fs::write(&ballast, vec![1; usize::try_from(size - SMALL).unwrap()]).unwrap();
    for i in 0..300_u32 {
        let directory = upper.join(format!("d{}", i / 50));
        fs::create_dir_all(&directory).unwrap();
        let length = if i % 50 == 0 { 1_000_000 } else { 5000 };
        fs::write(directory.join(format!("f{i}")), i.to_le_bytes().repeat(length / 4)).unwrap();
    }
    fs::remove_file(ballast).unwrap();
    drop(mounted);
    assert_eq!(fsck(image), Ok(()));
}

fn both_ways(bench: &Bench) -> [Case; 2] {
    [Case::new(bench, SMALL, LARGE), Case::new(bench, LARGE, SMALL)]
}

#[test]
fn at_any_instant() {
    let bench = Bench::new();
    let cases = both_ways(&bench);
    let instants = instants() / cases.len() as u32;
    for case in cases {
        let (mut cut_off, mut left_behind) = (0, 0);
        for _ in 0..instants {
            case.renew();
            let delay = some_of(case.whole_run);
            start("copy", case.to, &case.image).end_after(delay, Signal::SIGKILL);
            cut_off += u32::from(case.look() == case.from);
            left_behind += u32::from(names_in(case.image.parent().unwrap()).len() > 1);
            case.complete();
        }
        let (from, to) = (case.from / MIB, case.to / MIB);
        eprintln!("{from} to {to} MiB: of {instants} runs {cut_off} were cut off, {left_behind} left a copy behind");
        assert!(cut_off > instants / 5, "only {cut_off} of {instants} were cut off");
        assert!(left_behind > instants / 10, "only {left_behind} of {instants} were cut off on the way");
    }
}

/// A signal that can be heard leaves nothing behind even without another run.
#[test]
fn asked_to_stop() {
    let bench = Bench::new();
    for case in both_ways(&bench) {
        let (mut refused, mut tried) = (0, 0);
        let deadline = Instant::now() + Duration::from_secs(120);
        // A quick machine may need more of them until one is heard on the way.
        while tried < instants() / 5 || refused == 0 {
            assert!(Instant::now() < deadline, "never was the signal heard on the way");
            case.renew();
            let signal = SIGNALS[tried as usize % SIGNALS.len()];
            tried += 1;
            let ended = start("copy", case.to, &case.image).end_after(some_of(case.whole_run), signal);
            assert_eq!(names_in(case.image.parent().unwrap()), ["env.img"], "{ended}");
            let size = case.look();
            // A signal may also come when all is done and the process about to end.
            let given_up = ended.code() == Some(101);
            assert!(size == case.from || (size == case.to && !given_up), "{size}: {ended}");
            refused += u32::from(given_up);
        }
    }
}

/// Nor does one cut off what must not be.
#[test]
fn in_place_is_finished() {
    let bench = Bench::new();
    for case in both_ways(&bench) {
        for signal in SIGNALS {
            let ended = until_seen(|| {
                case.renew();
                let note = note_path(&case.image);
                start("in-place", case.to, &case.image).end_once(|| note.exists(), signal)
            });
            assert!(ended.success(), "{signal}: {ended}");
            assert_eq!((case.look(), names_in(case.image.parent().unwrap())), (case.to, vec!["env.img".into()]));
        }
    }
}

/// In place resize2fs goes on when condatainer is killed, and holds the lock until it has ended.
#[test]
fn in_place_the_tool_outlives_a_kill() {
    let bench = Bench::new();
    for case in both_ways(&bench) {
        for _ in 0..instants() / 5 {
            case.renew();
            start("in-place", case.to, &case.image).end_after(some_of(case.whole_run), Signal::SIGKILL);
            while let Err(error) =
                resize(&case.image, &Request { dry_run: true, ..Request::new(Wish::Grow(0)) }, &mut |_| {})
            {
                let ResizeError::Acquire(busy) = error else { panic!("{error}") };
                assert!(busy.to_string().contains("is in use"), "{busy}");
                thread::sleep(Duration::from_millis(5));
            }
            assert_eq!(fsck(&case.image), Ok(()));
            assert!(contents(&case.image) == case.content);
            case.complete();
        }
    }
}
