//! Crashes in the middle of real work: what is left is what was committed last, or was being committed, with all of its data and none of
//! anybody else's; e2fsck has nothing to mend. `CONDATAINER_CRASHES` says how many times as many are tried as usual.

// Tests and their helpers: what does not hold, fails the test.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/place.rs"]
mod place;
#[path = "../support/record.rs"]
mod record;
mod seen;
mod work;

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use condatainer_formats::source::Window;
use condatainer_writer::device::FileDevice;
use condatainer_writer::{Error, Volume, replay};
use record::{Overlay, Recorder, apply, each_cut};
use work::{Worked, filled, work};

/// Power cuts of one round.
const CUTS: usize = 750;

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

/// e2fsck replays, and frees what nobody has any more; it finds nothing that it would have to ask about.
fn checked_by_e2fsck(image: &[u8], path: &Path) -> Vec<u8> {
    fs::write(path, image).unwrap();
    let output = Command::new("e2fsck").arg("-fy").arg(path).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(matches!(output.status.code(), Some(0 | 1)) && !text.contains("? yes"), "{text}");
    fs::read(path).unwrap()
}

/// So do we, when the image is opened.
fn opened_by_us(image: &[u8], path: &Path) -> Vec<u8> {
    fs::write(path, image).unwrap();
    let file = File::options().read(true).write(true).open(path).unwrap();
    let volume = Volume::open(Arc::new(FileDevice::new(file, Window::whole(image.len() as u64)))).unwrap();
    volume.close().unwrap();
    let output = Command::new("e2fsck").arg("-fn").arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    fs::read(path).unwrap()
}

/// The kernel replays, and frees what nobody has any more.
fn mounted_by_the_kernel(image: &[u8], path: &Path) -> Vec<u8> {
    fs::write(path, image).unwrap();
    let script = "mount -t ext3 -o loop \"$0\" \"$1\" && umount \"$1\"";
    let place = path.with_extension("mounted");
    fs::create_dir_all(&place).unwrap();
    let mut mount = Command::new("unshare");
    mount.args(["-m", "--propagation", "private", "sh", "-c", script]).arg(path).arg(place);
    assert!(mount.status().unwrap().success());
    fs::read(path).unwrap()
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
            for checks in [checked_by_e2fsck, opened_by_us, mounted_by_the_kernel] {
                worked.check(&Overlay::new(&checks(&overlay.image(), &path)), end);
            }
        });
        let closed = opened_by_us(&worked.recorder.image(), &path);
        worked.check(&Overlay::new(&closed), worked.recorder.len());
    }
}

#[test]
fn with_blocks_of_1_kib() {
    tried(&image(&["-b", "1024", "-I", "128", "-J", "size=1"], 8), 1, 300, 1);
}

#[test]
fn with_blocks_of_4_kib() {
    tried(&image(&["-b", "4096", "-I", "256", "-J", "size=4"], 24), 2, 300, 1);
}

#[test]
fn with_a_log_that_goes_around() {
    tried(&image(&["-b", "1024", "-I", "256", "-J", "size=1"], 8), 3, 1500, 3);
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
            checked_by_e2fsck(&overlay.image(), &path);
            opened_by_us(&overlay.image(), &path);
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
            checked_by_e2fsck(&left, &path);
            opened_by_us(&left, &path);
        }
    }
}
