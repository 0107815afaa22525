//! A device that fails: whoever asked for something to last is told, and what is left is a committed state.

use super::workload::{Plan, SMALL, work};
use crate::Error;
use crate::record::{Overlay, Recorder};

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
