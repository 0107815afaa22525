//! A device that fails: whoever asked for something to last is told, and what is left is a committed state.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use condatainer_writer::device::Device;

use super::workload::{Plan, SMALL, work};
use crate::journal::replay;
use crate::record::{Overlay, Recorder};
use crate::{Error, Volume};

const SHORT: Plan = Plan { changes: 12, commits: 3, largest: 6, close: true };

#[test]
fn each_write_and_each_flush_fails_once() {
    let image = SMALL.image();
    let whole = work(SMALL, Recorder::new(image.clone()), 9, SHORT);
    for call in 0..whole.recorder.calls() {
        let recorder = Recorder::new(image.clone());
        recorder.fail(call..call + 1);
        let worked = work(SMALL, recorder, 9, SHORT);
        let error = worked.error.as_ref().expect("a failure was not told");
        assert!(matches!(error, Error::Device(_)), "{error}");
        let end = worked.recorder.len();
        worked.check(&Overlay::new(&worked.recorder.image()), end);
    }
}

#[test]
fn nothing_is_changed_after_a_failure_and_everything_is_read() {
    let recorder = Arc::new(Recorder::new(SMALL.image()));
    let device: Arc<dyn Device> = recorder.clone();
    let volume = Volume::open(device).unwrap();
    let [first, second] = [SMALL.free()[0], SMALL.free()[1]];
    let fill = |block: u64, byte: u8| volume.change(|handle| handle.change(block).map(|bytes| bytes.fill(byte)));
    let holds = |block: u64| volume.look(|handle| Ok(handle.block(block)?[9])).unwrap();
    fill(first, 1).unwrap();
    volume.commit().unwrap();
    fill(first, 2).unwrap();
    recorder.fail(recorder.calls()..recorder.calls() + 1);
    assert!(matches!(volume.commit(), Err(Error::Device(_))));
    assert!(matches!(fill(second, 3), Err(Error::Aborted(_))));
    for error in [volume.commit(), volume.sync(2, true), volume.close(), volume.commit_due(Instant::now()).map(|_| ())]
    {
        assert!(matches!(error, Err(Error::Aborted(_))), "{error:?}");
    }
    assert_eq!((holds(first), holds(second)), (2, 0));
    let image = recorder.image();
    let overlay = Overlay::new(&image);
    assert!(replay(&overlay).unwrap().was_needed);
    assert_eq!(overlay.image()[first as usize * 1024 + 9], 1);
}

/// A panic is caught by the server, which goes on.
#[test]
fn a_commit_that_ends_in_a_panic_is_the_last() {
    let recorder = Arc::new(Recorder::new(SMALL.image()));
    let device: Arc<dyn Device> = recorder.clone();
    let volume = Volume::open(device).unwrap();
    let [first, second] = [SMALL.free()[0], SMALL.free()[1]];
    let fill = |block: u64, byte: u8| volume.change(|handle| handle.change(block).map(|bytes| bytes.fill(byte)));
    fill(first, 1).unwrap();
    volume.commit().unwrap();
    fill(first, 2).unwrap();
    recorder.panic(recorder.calls());
    assert!(catch_unwind(AssertUnwindSafe(|| volume.commit())).is_err());
    // What it has changed is still seen, but nothing more is changed.
    assert_eq!(volume.look(|handle| Ok(handle.block(first)?[9])).unwrap(), 2);
    let _ = fill(second, 3);
    assert!(matches!(volume.commit(), Err(Error::Aborted(_))));
    assert!(matches!(fill(second, 3), Err(Error::Aborted(_))) && matches!(volume.close(), Err(Error::Aborted(_))));
    let image = recorder.image();
    let overlay = Overlay::new(&image);
    assert!(replay(&overlay).unwrap().was_needed);
    let image = overlay.image();
    assert_eq!((image[first as usize * 1024 + 9], image[second as usize * 1024 + 9]), (1, 0));
}
