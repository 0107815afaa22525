//! A directory of many names, and a tree of many files: the last cost what the first did, and what is kept in memory is bounded. With
//! `CONDATAINER_SOAK=1` they are as many as a large environment has.

// Tests and their helpers: what does not hold, fails the test.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/place.rs"]
mod place;

use std::fs::File;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use condatainer_formats::ext::raw::ROOT_INO;
use condatainer_formats::ext::{FileType, Ids, Window};
use condatainer_writer::device::FileDevice;
use condatainer_writer::{New, Volume};
use nix::time::{ClockId, clock_gettime};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What a server may hold of an image whose files the kernel all knows.
const MOST_MEMORY: usize = 96 << 20;

/// One after the other: they measure.
static ALONE: Mutex<()> = Mutex::new(());

fn is_soak() -> bool {
    std::env::var_os("CONDATAINER_SOAK").is_some()
}

fn image(mebibytes: u64, inodes: usize) -> tempfile::TempDir {
    // A million files do not lie in memory.
    let directory = if is_soak() { tempfile::tempdir().unwrap() } else { place::directory() };
    let path = directory.path().join("image");
    File::create(&path).unwrap().set_len(mebibytes << 20).unwrap();
    let mut mke2fs = Command::new("mke2fs");
    mke2fs.args(["-q", "-F", "-t", "ext3", "-m", "0", "-J", "size=64", "-N", &inodes.to_string()]).arg(&path);
    assert!(mke2fs.status().unwrap().success());
    directory
}

fn open(directory: &tempfile::TempDir) -> Volume {
    let file = File::options().read(true).write(true).open(directory.path().join("image")).unwrap();
    let size = file.metadata().unwrap().len();
    Volume::open(Arc::new(FileDevice::new(file, Window::whole(size)))).unwrap()
}

fn make(volume: &Volume, directory: u32, name: &str, kind: FileType) -> u32 {
    let new = New { kind, mode: 0o644, ids: Ids::ROOT, device: (0, 0), target: &[], xattrs: &[] };
    volume.make(directory, name.as_bytes(), &new).unwrap().ino
}

/// Of this thread, which nobody else's work makes longer.
fn processor() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

/// Does something so many times, commits as a server does, and says what a tenth of it took. The last must take little more than the first.
fn tenths(what: &str, volume: &Volume, count: usize, mut step: impl FnMut(usize)) {
    let (mut took, mut began) = (Vec::new(), processor());
    for number in 0..count {
        step(number);
        if number % 500 == 0 {
            volume.commit_due(Instant::now()).unwrap();
        }
        if (number + 1) % (count / 10) == 0 {
            let now = processor();
            took.push((now - began).as_secs_f64());
            began = now;
        }
    }
    let each: Vec<String> = took.iter().map(|took| format!("{:.1}", took * 1e7 / count as f64)).collect();
    eprintln!("{what}: {} us each in each tenth of {count}", each.join(" "));
    // The smaller of two neighbours: a moment may be a bad one.
    let (first, last) = (took[0].max(took[1]), took[8].min(took[9]));
    assert!(last < first * 2.0, "{what}: {took:?}");
}

#[test]
fn a_directory_of_many_names() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let count = if is_soak() { 200_000 } else { 20_000 };
    let directory = image(1024, count + 1000);
    let volume = open(&directory);
    let many = make(&volume, ROOT_INO, "many", FileType::Directory);
    let name = |number: usize| format!("{number:06}-a-name-of-some-length");
    tenths("names made in one directory", &volume, count, |number| {
        let ino = make(&volume, many, &name(number), FileType::Regular);
        volume.release(ino, 1).unwrap();
    });
    tenths("names looked up in it", &volume, count, |number| {
        let named = volume.lookup(many, name(number * 7919 % count).as_bytes()).unwrap();
        volume.release(named.ino, 1).unwrap();
    });
    tenths("names removed from it", &volume, count, |number| {
        volume.remove(many, name(number).as_bytes(), false).unwrap();
    });
    volume.end().unwrap();
    let output = Command::new("e2fsck").arg("-fn").arg(directory.path().join("image")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_tree_of_many_files_that_the_kernel_all_knows() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let count = if is_soak() { 1_000_000 } else { 20_000 };
    let directory = image(if is_soak() { 12 << 10 } else { 1024 }, count + count / 50 + 1000);
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let volume = open(&directory);
    let mut at = ROOT_INO;
    tenths("files of 100 bytes made in directories of a hundred", &volume, count, |number| {
        if number % 100 == 0 {
            at = make(&volume, ROOT_INO, &format!("d{number}"), FileType::Directory);
        }
        let ino = make(&volume, at, &format!("f{number}"), FileType::Regular);
        volume.write(ino, 0, &[7; 100], false).unwrap();
    });
    let peak = MEMORY.peak_usage().saturating_sub(before);
    eprintln!("at most {} MiB held of {count} files in use", peak >> 20);
    assert!(peak < MOST_MEMORY, "{peak}");
    volume.end().unwrap();
    let output = Command::new("e2fsck").arg("-fn").arg(directory.path().join("image")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
