//! Repairs an image whose last writer was killed, or that a crash left with a journal to replay, before it is used again.
//!
//! Our own writer leaves a journal, which is replayed. fuse2fs keeps none: after a SIGKILL the free counts and bitmaps on disk are stale, and writing on would let two files
//! share a block. `e2fsck -p` makes only repairs that lose nothing, and gives up otherwise.

use crate::plan::Plan;
use crate::run::images::recheck::wait_for_writer;
use condatainer_formats::ext::State;
use condatainer_images::acquire::{AcquireError, LockedImage, Purpose};
use condatainer_images::overlay::whiteout;

/// Replays the journal of every image of the plan that needs it, and runs `e2fsck -p` where that is not all, while holding the image's lock.
///
/// Another task of the same step may be quicker; then a reader waits until that is done, and a writer is refused.
pub(crate) fn repair(plan: &Plan, say: &mut dyn FnMut(&str)) -> Result<(), AcquireError> {
    for path in &plan.repair {
        match LockedImage::open(path, Purpose::Change) {
            Ok(locked) => {
                let state = locked.state()?;
                if !state.is_clean() {
                    say(&format!("{}: {}", path.display(), why(state)));
                }
                locked.make_clean(true)?;
                if plan.engine.is_singularity() {
                    // What is not understood stays as it is: the second look finds it.
                    let _ = whiteout::translate(&locked.file, locked.window);
                }
            }
            Err(AcquireError::Busy { .. }) if plan.holds.as_ref() != Some(path) => wait_for_writer(path),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Puts the image that is written in order, whatever it was when the plan was made: somebody has had it since.
pub(crate) fn once_more(plan: &Plan) -> Result<(), AcquireError> {
    let written = plan.holds.as_ref().map(|path| LockedImage::open(path, Purpose::Change)?.make_clean(true));
    written.map_or(Ok(()), |made| made.map(drop))
}

fn why(state: State) -> &'static str {
    match state.needs_recovery {
        true => "its journal was not replayed after a crash: replaying it",
        false => "its last user was killed, or found the disk full: repairing it (e2fsck -p)",
    }
}
