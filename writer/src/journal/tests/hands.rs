//! The kernel and e2fsprogs replay what we wrote to the same bytes as we do.

use std::process::Command;

use super::workload::{LARGE, Plan, SMALL, file_of, run, work};
use crate::record::{Recorder, apply};

const USUAL: Plan = Plan { changes: 60, commits: 4, largest: 12, close: true };

#[test]
fn e2fsck_replays_to_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    for (make, seed) in [(SMALL, 11), (LARGE, 12)] {
        let worked = work(make, Recorder::new(make.image()), seed, USUAL);
        let events = worked.recorder.events();
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..6 {
            let end = random.usize(0..=events.len());
            let mut image = worked.recorder.base.clone();
            apply(&mut image, &events[..end]);
            let path = file_of(&image, directory.path(), "image");
            let (state, ours) = worked.check(image, end);
            let status = Command::new("e2fsck").args(["-fy"]).arg(&path).output().unwrap();
            assert!(matches!(status.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&status.stdout));
            assert_eq!(worked.check_replayed(&std::fs::read(&path).unwrap(), end), state);
            let ours = file_of(&ours, directory.path(), "ours");
            run(Command::new("e2fsck").arg("-fn").arg(ours));
        }
    }
}

#[test]
fn what_is_closed_is_clean() {
    for (make, seed) in [(SMALL, 13), (LARGE, 14)] {
        let worked = work(make, Recorder::new(make.image()), seed, USUAL);
        let directory = tempfile::tempdir().unwrap();
        let path = file_of(&worked.recorder.image(), directory.path(), "image");
        let text = run(Command::new("e2fsck").arg("-n").arg(&path));
        assert!(text.contains("clean"), "{text}");
        run(Command::new("e2fsck").arg("-fn").arg(&path));
        let text = run(Command::new("dumpe2fs").arg("-h").arg(&path));
        assert!(text.contains("Mount count:              1") && !text.contains("needs_recovery"), "{text}");
    }
}
