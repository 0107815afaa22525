//! What fsync(2) costs, and when a commit is due.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use condatainer_formats::ext::raw::ROOT_INO;
use condatainer_formats::source::ReadAt;
use condatainer_writer::device::Device;
use parking_lot::{Mutex, RwLock};

use super::workload::SMALL;
use crate::Volume;
use crate::record::{Event, Recorder};

const INO: u32 = 12;

fn open() -> (Arc<Recorder>, Volume) {
    let recorder = Arc::new(Recorder::new(SMALL.image()));
    let device: Arc<dyn Device> = recorder.clone();
    (recorder, Volume::open(device).unwrap())
}

fn change(volume: &Volume, block: u64, ino: u32, matters_to_data: bool) {
    let change = volume.change(|handle| {
        handle.change(block)?[0] ^= 1;
        handle.touch(ino, matters_to_data);
        Ok(())
    });
    change.unwrap();
}

/// What was done since: writes and flushes.
fn done(recorder: &Recorder, since: usize) -> (usize, usize) {
    let events = recorder.events();
    let flushes = events[since..].iter().filter(|event| matches!(event, Event::Flush)).count();
    (events.len() - since - flushes, flushes)
}

#[test]
fn a_commit_is_made_for_who_needs_it() {
    let (recorder, volume) = open();
    let block = SMALL.free()[0];
    assert_eq!(recorder.len(), 0, "opening writes nothing");
    volume.sync(INO, false).unwrap();
    assert_eq!(done(&recorder, 0), (0, 1), "there is nothing to commit");

    change(&volume, block, INO, false);
    let before = recorder.len();
    volume.sync(INO, true).unwrap();
    volume.sync(INO + 1, false).unwrap();
    assert_eq!(done(&recorder, before), (0, 2), "times, and another file");
    volume.sync(INO, false).unwrap();
    assert_eq!(done(&recorder, before).1, 4);

    let before = recorder.len();
    change(&volume, block, INO, true);
    volume.sync(INO, true).unwrap();
    volume.sync(INO, true).unwrap();
    // The log, the commit block, the place.
    assert_eq!(done(&recorder, before), (3, 3));

    let before = recorder.len();
    volume.close().unwrap();
    volume.close().unwrap();
    assert_eq!(done(&recorder, before), (2, 3));
}

#[test]
fn a_directory_that_is_committed_needs_no_flush() {
    let (recorder, volume) = open();
    volume.sync(ROOT_INO, false).unwrap();
    assert_eq!(recorder.len(), 0, "it was not changed");
    change(&volume, SMALL.free()[0], ROOT_INO, true);
    volume.sync(ROOT_INO, false).unwrap();
    let before = recorder.len();
    assert_eq!(done(&recorder, 0).1, 2, "a commit");
    volume.sync(ROOT_INO, false).unwrap();
    assert_eq!(recorder.len(), before);
}

/// A device whose flushes wait for a gate.
struct Gated {
    recorder: Recorder,
    gate: RwLock<()>,
    waiting: AtomicUsize,
}

impl ReadAt for Gated {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<usize> {
        self.recorder.read_at(buf, offset)
    }
}

impl Device for Gated {
    fn size(&self) -> u64 {
        self.recorder.size()
    }
    fn write_at(&self, data: &[u8], offset: u64) -> std::io::Result<()> {
        self.recorder.write_at(data, offset)
    }
    fn reserve(&self, offset: u64, length: u64) -> std::io::Result<()> {
        self.recorder.reserve(offset, length)
    }
    fn flush(&self) -> std::io::Result<()> {
        self.waiting.fetch_add(1, SeqCst);
        drop(self.gate.read());
        self.recorder.flush()
    }
}

fn wait(until: impl Fn() -> bool) {
    while !until() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn those_who_wait_share_a_commit() {
    const WAITING: Range<u32> = 20..36;
    let gated = Arc::new(Gated {
        recorder: Recorder::new(SMALL.image()),
        gate: RwLock::default(),
        waiting: AtomicUsize::default(),
    });
    let device: Arc<dyn Device> = gated.clone();
    let volume = Volume::open(device).unwrap();
    let free = SMALL.free();
    let (changed, free) = (AtomicUsize::new(0), &free);
    let closed = Mutex::new(Some(gated.gate.write()));
    std::thread::scope(|scope| {
        change(&volume, free[0], INO, true);
        scope.spawn(|| volume.sync(INO, false).unwrap());
        wait(|| gated.waiting.load(SeqCst) == 1);
        for ino in WAITING {
            let (volume, changed) = (&volume, &changed);
            scope.spawn(move || {
                // Nobody waits for the disk to change something.
                change(volume, free[ino as usize], ino, true);
                changed.fetch_add(1, SeqCst);
                volume.sync(ino, false).unwrap();
            });
        }
        wait(|| changed.load(SeqCst) == WAITING.len());
        drop(closed.lock().take());
    });
    let commits = gated.recorder.events().iter().filter(|event| is_commit(event)).count();
    assert_eq!(commits, 2);
}

fn is_commit(event: &Event) -> bool {
    matches!(event, Event::Write(_, data) if data.starts_with(&[0xC0, 0x3B, 0x39, 0x98, 0, 0, 0, 2]))
}

#[test]
fn a_commit_is_due_a_second_after_the_last_change_and_five_after_the_first() {
    let (recorder, volume) = open();
    let at = |tenths: u64| Duration::from_millis(tenths * 100);
    assert_eq!(volume.commit_due(Instant::now()).unwrap(), None);
    let before = Instant::now();
    change(&volume, SMALL.free()[0], INO, true);
    let due = volume.commit_due(before).unwrap().unwrap();
    assert!(due >= before + at(10) && due <= Instant::now() + at(10));
    assert_eq!(volume.commit_due(due - at(1)).unwrap(), Some(due));
    assert_eq!(recorder.len(), 0);
    // Changed again and again.
    for tenth in 1..60 {
        volume.store.lock().note_change(before + at(tenth));
    }
    let due = volume.commit_due(before).unwrap().unwrap();
    assert!(due >= before + at(50) && due <= Instant::now() + at(50));
    assert_eq!(volume.commit_due(due).unwrap(), None);
    assert_eq!(recorder.events().iter().filter(|event| is_commit(event)).count(), 1);
    // So much that nobody should wait for it.
    let blocks = SMALL.free().into_iter().cycle().take(1);
    blocks.for_each(|block| change(&volume, block, INO, true));
    let many: Vec<u64> = (0..140).map(|index| SMALL.last() - 200 + index).collect();
    volume.change(|handle| many.iter().try_for_each(|block| handle.change(*block).map(|bytes| bytes[0] ^= 1))).unwrap();
    assert_eq!(volume.commit_due(Instant::now()).unwrap(), None, "it is done");
    assert_eq!(recorder.events().iter().filter(|event| is_commit(event)).count(), 2);
}
