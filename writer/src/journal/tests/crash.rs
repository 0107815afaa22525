//! Every crash point of small workloads.

use condatainer_formats::source::ReadAt;

use super::workload::{LARGE, Make, Plan, SMALL, Worked, work};
use crate::journal::replay;
use crate::record::{Event, Overlay, Recorder, apply, each_cut};

const USUAL: Plan = Plan { changes: 60, commits: 4, largest: 12, close: true };

fn every_prefix(worked: &Worked, step: usize) -> Vec<usize> {
    let events = worked.recorder.events();
    let mut image = worked.recorder.base.clone();
    let mut seen = Vec::new();
    for end in 0..=events.len() {
        apply(&mut image, &events[end.saturating_sub(1)..end]);
        if end % step == 0 || end == events.len() {
            seen.push(worked.check(&Overlay::new(&image), end));
        }
    }
    seen
}

/// Whoever comes after them finds a state, and e2fsck has nothing to ask.
fn samples(worked: &Worked, seed: u64, count: usize) {
    let blocks = worked.recorder.base.chunks(1024);
    let journal = blocks.clone().position(|block| block.starts_with(&[0xC0, 0x3B, 0x39, 0x98])).unwrap() * 1024;
    each_cut(&worked.recorder, seed, count, |overlay, end| {
        let word = |at: usize| {
            let mut word = [0; 4];
            overlay.read_at(&mut word, at as u64).unwrap();
            word
        };
        // e2fsck would ask: the log has something, and the superblock does not say that it counts.
        assert!(word(1024 + 0x60)[0] & 4 != 0 || word(journal + 0x1C) == [0; 4], "after {end} events");
        worked.check(overlay, end);
    });
}

fn works(make: Make, seed: u64, plan: Plan) -> Worked {
    let worked = work(make, Recorder::new(make.image()), seed, plan);
    assert!(worked.error.is_none(), "{:?}", worked.error);
    worked
}

#[test]
fn a_crash_leaves_a_state_that_was_committed() {
    for (make, seed) in [(SMALL, 1), (SMALL, 2), (LARGE, 3)] {
        let worked = works(make, seed, USUAL);
        let seen = every_prefix(&worked, 1);
        assert!(seen.is_sorted(), "a later crash shows no earlier state");
        samples(&worked, seed, 400);
    }
}

#[test]
fn the_first_commit_is_cut() {
    let plan = Plan { changes: 1, commits: 1, largest: 3, close: true };
    samples(&works(SMALL, 7, plan), 7, 500);
}

/// Somebody has taken the mark away that the journal counts, left what is in it, and changed the image.
#[test]
fn a_log_that_does_not_count_never_comes_back() {
    let plan = Plan { changes: 30, commits: 2, largest: 12, close: false };
    let mut image = works(SMALL, 8, plan).recorder.image();
    image[1024 + 0x60] &= !4;
    for block in SMALL.free() {
        image[block as usize * 1024..][..1024].fill(0x77);
    }
    let plan = Plan { changes: 8, commits: 1, largest: 3, close: true };
    for seed in 0..8 {
        let worked = work(SMALL, Recorder::new(image.clone()), seed, plan);
        assert!(worked.error.is_none(), "{:?}", worked.error);
        every_prefix(&worked, 1);
        each_cut(&worked.recorder, seed, 100, |overlay, end| {
            worked.check(overlay, end);
        });
    }
}

#[test]
fn a_log_goes_around_many_times() {
    let plan = Plan { changes: 1200, commits: 3, largest: 24, close: true };
    let worked = works(SMALL, 4, plan);
    let bytes: usize = worked
        .recorder
        .events()
        .iter()
        .map(|event| if let crate::record::Event::Write(_, data) = event { data.len() } else { 0 })
        .sum();
    assert!(bytes > 10 << 20);
    every_prefix(&worked, 5);
    samples(&worked, 4, 400);
}

#[test]
fn what_is_never_asked_to_last_is_committed_when_there_is_much_of_it() {
    let plan = Plan { changes: 400, commits: usize::MAX, largest: 50, close: false };
    let worked = works(SMALL, 5, plan);
    let seen = every_prefix(&worked, 1);
    // Not more than a quarter of the log is lost.
    assert!(*seen.last().unwrap() == 0, "60 blocks fit in one transaction");
}

#[test]
fn a_replay_that_is_cut_is_done_again() {
    let worked = works(SMALL, 6, USUAL);
    let events = worked.recorder.events();
    let mut random = fastrand::Rng::with_seed(6);
    for _ in 0..6 {
        let end = random.usize(0..events.len());
        let mut image = worked.recorder.base.clone();
        apply(&mut image, &events[..end]);
        let recorder = Recorder::new(image.clone());
        let state = worked.check(&recorder, end);
        let replaying = recorder.events();
        for cut in 0..=replaying.len() {
            let flushed = replaying[..cut].iter().rposition(|event| matches!(event, Event::Flush)).unwrap_or(0);
            let mut image = image.clone();
            apply(&mut image, &replaying[..flushed]);
            for _ in 0..4 {
                let overlay = Overlay::cut(&image, &replaying[flushed..cut], &mut random);
                assert_eq!(worked.check(&overlay, end), state);
            }
            apply(&mut image, &replaying[flushed..cut]);
            let overlay = Overlay::new(&image);
            assert_eq!(worked.check(&overlay, end), state);
            assert!(!replay(&overlay).unwrap().was_needed);
        }
    }
}
