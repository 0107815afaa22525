//! The second look: between the probe and the engine's lock a file can be replaced or taken. What was decided must still hold
//! once the lock is held, before any command runs; and after the end the lock must be gone.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::holder;
use crate::image;
use crate::layer::Mode;
use crate::lock::Access;
use crate::plan::{Overlay, Plan, Watch};
use crate::refusal::Refusal;
use crate::run::RunError;
use crate::survey;

/// The engine's FUSE processes end within milliseconds; a slow disk may keep them syncing.
const PATIENCE: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_millis(5);

/// Compares every layer with what the plan was made for.
pub(crate) fn look_again(watched: &[Watch]) -> Result<(), RunError> {
    watched.iter().try_for_each(|watch| {
        let changed = |what| RunError::Changed { path: watch.path.clone(), what };
        let now = image::open(&watch.path).map_err(|_| changed("was removed or replaced"))?;
        if (now.image.dev, now.image.ino) != watch.identity {
            return Err(changed("was replaced by another file"));
        }
        let upper =
            now.probe().ok().flatten().and_then(|probe| probe.upper.owner()).map(|owner| (owner.uid, owner.gid));
        if upper == watch.upper { Ok(()) } else { Err(changed("changed its owner")) }
    })
}

/// After a failed start: the refusal that explains it, if another process took an image in between.
pub(crate) fn who_was_faster(plan: &Plan) -> Option<Refusal> {
    plan.stack.iter().find_map(|overlay| match overlay {
        Overlay::Rw(path) => survey::busy(path, Mode::Rw),
        Overlay::Ro(path) => survey::busy(path, Mode::Ro),
        Overlay::Scratch(_) => None,
    })
}

/// Waits until an unnamed writer (our own engine's FUSE processes, another task's repair) has let go of the image. Readers, and a
/// writer who has left his note, have come after that.
pub(crate) fn wait_for_writer(image: &Path) {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline && survey::is_locked(image, Access::Read) && holder::read(image).is_none() {
        std::thread::sleep(INTERVAL);
    }
}
