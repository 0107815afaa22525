//! After a writer: what it has deleted is put into the kernel's language, and remembered.
//!
//! Then whoever reads the image next, also an Apptainer that somebody runs by hand, sees it deleted without fuse-overlayfs in
//! between. All of this is a service: whatever fails here, the next start finds out by itself. But a disk that was full has cost data,
//! and nobody else will say so.

use std::path::Path;
use std::time::Duration;

use crate::plan::Plan;
use crate::run::images::lost::lost;
use condatainer_formats::ext::{self, Room};
use condatainer_images::acquire::{AcquireError, LockedImage, Purpose};
use condatainer_images::image;
use condatainer_images::overlay::whiteout;

/// A writer may end this much later than its command; a search that takes longer is left to `overlay info --scan`.
const SEARCH: Duration = Duration::from_millis(300);

/// What the image has room for, before it is written to.
pub(crate) fn room(image: &Path) -> Option<Room> {
    image::open(image).ok()?.probe().ok()?.map(|probe| probe.room)
}

/// Looks for whiteouts in the image that was written, translates them, and leaves a mark. A line for the user where the image is
/// not as its writer believes.
pub(crate) fn finish(image: &Path, before: Option<Room>) -> Option<String> {
    // Somebody else may have it already; where there are no locks nothing would tell, not even whether our own engine's daemons
    // have ended.
    let locked = LockedImage::open(image, Purpose::Change).ok().filter(|locked| locked.lock_unsupported().is_none())?;
    let room = ext::room(&locked.file, locked.window).ok();
    let is_dirty = matches!(translate(&locked), Err(AcquireError::Dirty { .. }));
    lost(&locked.image, &locked.file, is_dirty, before, room)
}

/// The same in images that were just repaired, for an engine whose overlay knows no other language. What is not understood stays as it is:
/// the second look finds it.
pub(crate) fn translate_repaired(plan: &Plan) {
    for path in plan.repair.iter().filter(|_| plan.engine.is_singularity()) {
        if let Ok(locked) = LockedImage::open(path, Purpose::Change) {
            let _ = whiteout::translate(&locked.file, locked.window);
        }
    }
}

fn translate(locked: &LockedImage) -> Result<(), AcquireError> {
    locked.make_clean(false)?;
    let find = || whiteout::find(&locked.file, locked.window, Some(SEARCH)).ok().flatten();
    if find().is_some_and(|found| found.kinds.fuse > 0) && whiteout::translate(&locked.file, locked.window).is_ok() {
        find();
    }
    Ok(())
}
