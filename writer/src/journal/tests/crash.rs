//! Every crash point of small workloads.

use super::workload::{LARGE, Make, Plan, SMALL, Worked, work};
use crate::record::{Recorder, apply, cut};

const USUAL: Plan = Plan { changes: 60, commits: 4, largest: 12, close: true };

fn every_prefix(worked: &Worked, step: usize) -> Vec<usize> {
    let events = worked.recorder.events();
    let mut image = worked.recorder.base.clone();
    let mut seen = Vec::new();
    for end in 0..=events.len() {
        apply(&mut image, &events[end.saturating_sub(1)..end]);
        if end % step == 0 || end == events.len() {
            seen.push(worked.check(image.clone(), end).0);
        }
    }
    seen
}

fn samples(worked: &Worked, seed: u64, count: usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let events = worked.recorder.events();
    for _ in 0..count {
        let end = random.usize(0..=events.len());
        let image = cut(&worked.recorder.base, &events[..end], &mut random);
        worked.check(image, end);
    }
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
        samples(&worked, seed, 60);
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
    every_prefix(&worked, 47);
    samples(&worked, 4, 60);
}

#[test]
fn what_is_never_asked_to_last_is_committed_when_there_is_much_of_it() {
    let plan = Plan { changes: 400, commits: usize::MAX, largest: 50, close: false };
    let worked = works(SMALL, 5, plan);
    let seen = every_prefix(&worked, 1);
    // Not more than a quarter of the log is lost.
    assert!(*seen.last().unwrap() == 0, "60 blocks fit in one transaction");
}
