//! Repairs an image whose last writer was killed, or that a crash left with a journal to replay, before it is used again.
//!
//! Our own writer leaves a journal, which is replayed. fuse2fs keeps none: after a SIGKILL the free counts and bitmaps on disk are stale, and writing on would let two files
//! share a block. `e2fsck -p` makes only repairs that lose nothing, and gives up otherwise.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::machine::survey;
use crate::plan::Plan;
use condatainer_formats::ext::State;
use condatainer_images::acquire::{AcquireError, LockedImage, Purpose, holder};
use condatainer_images::lock::Access;

/// The engine's FUSE processes end within milliseconds; a slow disk may keep them syncing.
const PATIENCE: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_millis(1);

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

/// Waits until an unnamed writer (our own engine's FUSE processes, another task's repair) has let go of the image. Readers, and a
/// writer who has left his note, have come after that.
pub(crate) fn wait_for_writer(image: &Path) {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline && survey::is_taken(image, Access::Read) && holder::read(image).is_none() {
        std::thread::sleep(INTERVAL);
    }
}
