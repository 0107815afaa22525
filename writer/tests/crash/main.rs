//! Crashes in the middle of work, what programs do and what chance does: what is left is what was committed last, or was being committed, with
//! all of its data and none of anybody else's; e2fsck has nothing to mend. `CONDATAINER_CRASHES` says how many times as many are tried as
//! usual; with more than one, what programs do is replayed after each write by us, by e2fsck and by the kernel.

// Tests and their helpers: what does not hold, fails the test.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod copied;
mod hand;
mod install;
#[path = "../support/place.rs"]
mod place;
mod programs;
#[path = "../support/record.rs"]
mod record;
mod replays;
mod seen;
mod work;

use std::fs;
use std::process::Command;

use condatainer_writer::{Error, replay};
use hand::{Hand, Things};
use record::{Overlay, Recorder, apply, each_cut};
use work::{Worked, filled, work};

/// Power cuts of one round.
const CUTS: usize = 200;

/// A new image, with as short a journal as can be.
fn image(words: &[&str], mebibytes: u64) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(mebibytes << 20).unwrap();
    let features = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,sparse_super,large_file";
    let mut mke2fs = Command::new("mke2fs");
    mke2fs.args(["-q", "-F", "-t", "ext3", "-m", "0", "-N", "512", "-O", features]).args(words).arg(file.path());
    assert!(mke2fs.status().unwrap().success());
    fs::read(file.path()).unwrap()
}

/// Every `step`th prefix of what was written. Returns how many there are.
fn prefixes(worked: &Worked, step: usize) -> usize {
    let events = worked.recorder.events();
    let mut image = worked.recorder.base.clone();
    let (mut last, mut count) = (0, 0);
    for end in 0..=events.len() {
        apply(&mut image, &events[end.saturating_sub(1)..end]);
        if end % step == 0 || end == events.len() {
            let overlay = Overlay::new(&image);
            replay(&overlay).unwrap();
            let state = worked.check(&overlay, end);
            assert!(state >= last, "a later crash shows an earlier state");
            (last, count) = (state, count + 1);
        }
    }
    count
}

/// How many times as many crashes as usual are tried.
fn rounds() -> u64 {
    std::env::var("CONDATAINER_CRASHES").ok().and_then(|count| count.parse().ok()).unwrap_or(1)
}

/// The first round tries each `step`th crash, the others each.
fn tried(image: &[u8], seed: u64, changes: usize, step: usize) {
    let directory = place::directory();
    let path = directory.path().join("image");
    for round in 0..rounds() {
        let (seed, step) = (seed + 1000 * round, if round == 0 { step } else { 1 });
        let worked = work(Recorder::new(image.to_vec()), seed, changes);
        assert!(worked.error.is_none(), "{:?}", worked.error);
        let points = prefixes(&worked, step);
        eprintln!("{points} of {} prefixes, and {CUTS} cuts of them", worked.recorder.len() + 1);
        each_cut(&worked.recorder, seed, CUTS, |overlay, end| {
            replay(overlay).unwrap();
            worked.check(overlay, end);
        });
        each_cut(&worked.recorder, seed + 100, 6, |overlay, end| {
            for replayed in replays::ALL {
                worked.check(&Overlay::new(&replayed(&overlay.image(), &path)), end);
            }
        });
        let closed = replays::by_us(&worked.recorder.image(), &path);
        worked.check(&Overlay::new(&closed), worked.recorder.len());
    }
}

#[test]
fn with_blocks_of_1_kib() {
    tried(&image(&["-b", "1024", "-I", "128", "-J", "size=1"], 8), 1, 300, 2);
}

#[test]
fn with_blocks_of_4_kib() {
    tried(&image(&["-b", "4096", "-I", "256", "-J", "size=4"], 24), 2, 300, 2);
}

#[test]
fn with_a_log_that_goes_around() {
    tried(&image(&["-b", "1024", "-I", "256", "-J", "size=1"], 8), 3, 1500, 6);
}

/// What is committed in the middle of something, because nothing is free before, is consistent as well.
#[test]
fn with_an_image_that_is_full() {
    let image = filled(image(&["-b", "1024", "-I", "256", "-J", "size=1"], 3), 150);
    let directory = place::directory();
    let path = directory.path().join("image");
    for round in 0..rounds() {
        let worked = work(Recorder::new(image.clone()), 4 + round, 500);
        assert!(worked.error.is_none() && worked.full > 3, "{:?}, full {} times", worked.error, worked.full);
        each_cut(&worked.recorder, round, 12, |overlay, _| {
            replays::by_e2fsck(&overlay.image(), &path);
            replays::by_us(&overlay.image(), &path);
        });
    }
}

/// Each write and each flush fails once, and after it all is well again. It is told, and what is left is in order.
#[test]
fn with_a_disk_that_fails_once() {
    let image = image(&["-b", "1024", "-I", "256", "-J", "size=1"], 8);
    let directory = place::directory();
    let path = directory.path().join("image");
    let whole = work(Recorder::new(image.clone()), 5, 60);
    let calls = whole.recorder.calls();
    assert!(calls > 100, "{calls}");
    for call in 0..calls {
        let recorder = Recorder::new(image.clone());
        recorder.fail(call..call + 1);
        let worked = work(recorder, 5, 60);
        match &worked.error {
            Some(error) => assert!(matches!(error, Error::Device(_)), "{error}"),
            None => assert!(worked.short, "a failure was not told"),
        }
        let left = worked.recorder.image();
        let overlay = Overlay::new(&left);
        replay(&overlay).unwrap();
        seen::of(&overlay, left.len() as u64);
        if call % 8 == 0 || rounds() > 1 {
            replays::by_e2fsck(&left, &path);
            replays::by_us(&left, &path);
        }
    }
}

/// Whether what a program says of itself is true of a state, and of all that was found.
type Holds = fn(&Hand, usize, &Things) -> Result<(), String>;

/// What a program does, with as many cuts between two flushes. `holds` gets the state that is left, and all that is in it.
fn done_by(words: &[&str], mebibytes: u64, step: usize, work: fn(&mut Hand), holds: Holds) {
    let mut hand = Hand::new(image(&[words, &["-N", "1024"]].concat(), mebibytes));
    work(&mut hand);
    hand.close();
    let directory = place::directory();
    let path = directory.path().join("image");
    let check = |overlay: &Overlay<'_>, end, oldest| {
        let (states, found) = hand.check(overlay, end, oldest);
        let whole = states.iter().map(|state| holds(&hand, *state, &found));
        let wrong: Vec<_> = whole.filter_map(Result::err).collect();
        assert!(wrong.len() < states.len(), "after {end} events, states {states:?}: {wrong:?}");
        states[0]
    };
    let by_all = |image: &[u8], end, oldest| {
        for replayed in replays::ALL {
            check(&Overlay::new(&replayed(image, &path)), end, oldest);
        }
    };
    let (is_soak, step) = (rounds() > 1, if rounds() > 1 { 1 } else { step });
    let events = hand.recorder.events();
    let mut image = hand.recorder.base.clone();
    let (mut last, mut points) = (0, 0);
    for end in 0..=events.len() {
        apply(&mut image, &events[end.saturating_sub(1)..end]);
        if end % step == 0 || end == events.len() {
            if is_soak {
                by_all(&image, end, last);
            }
            let overlay = Overlay::new(&image);
            replay(&overlay).unwrap();
            (last, points) = (check(&overlay, end, last), points + 1);
        }
    }
    let cuts = points * rounds() as usize;
    each_cut(&hand.recorder, 1, cuts, |overlay, end| {
        replay(overlay).unwrap();
        check(overlay, end, 0);
    });
    let sampled = if is_soak { cuts / 4 } else { 3 };
    each_cut(&hand.recorder, 2, sampled, |overlay, end| by_all(&overlay.image(), end, 0));
    let calls = hand.states() - 1;
    eprintln!("{calls} calls, {points} of {} prefixes, and {cuts} cuts of them, {sampled} by all", events.len() + 1);
    assert_eq!(last, calls);
}

const NOTHING: Holds = |_, _, _| Ok(());

/// Images as they are made today, and as they were with the smallest blocks.
const LARGE_BLOCKS: &[&str] = &["-b", "4096", "-I", "256", "-J", "size=4"];
const SMALL_BLOCKS: &[&str] = &["-b", "1024", "-I", "128", "-J", "size=1"];

#[test]
fn of_tar() {
    done_by(LARGE_BLOCKS, 24, 1, install::untar, NOTHING);
}

#[test]
fn of_pip() {
    done_by(LARGE_BLOCKS, 24, 2, install::pip, NOTHING);
}

#[test]
fn of_dpkg() {
    done_by(SMALL_BLOCKS, 8, 2, install::dpkg, NOTHING);
}

#[test]
fn of_an_overlay_that_copies_up() {
    done_by(LARGE_BLOCKS, 24, 1, install::copy_up, NOTHING);
}

#[test]
fn of_who_renames() {
    done_by(SMALL_BLOCKS, 8, 1, programs::renames, NOTHING);
}

#[test]
fn of_an_editor() {
    done_by(LARGE_BLOCKS, 24, 3, programs::replacements, NOTHING);
}

#[test]
fn of_a_database() {
    done_by(SMALL_BLOCKS, 8, 3, programs::database, programs::database_is_whole);
}

#[test]
fn of_a_directory_that_grows() {
    done_by(SMALL_BLOCKS, 8, 8, programs::growth, NOTHING);
}
