//! After a writer: what it has deleted is put into the kernel's language, and remembered.
//!
//! Then whoever reads the image next, also an Apptainer that somebody runs by hand, sees it deleted without fuse-overlayfs in
//! between. All of this is a service: whatever fails here, the next start finds out by itself. But a disk that was full has cost data,
//! and nobody else will say so.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use crate::machine::survey;
use crate::run::scratch::NOTHING;
use condatainer_formats::ext::{self, Room};
use condatainer_images::acquire::{AcquireError, LockedImage, Purpose};
use condatainer_images::image::{self, Image};
use condatainer_images::overlay::whiteout;
use condatainer_images::verbs::create;

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

/// A line for the user where an image that a writer has left is not as the writer believes.
pub(crate) fn lost(
    image: &Image,
    file: &File,
    is_dirty: bool,
    before: Option<Room>,
    after: Option<Room>,
) -> Option<String> {
    let path = image.path.display();
    let why = if is_dirty {
        "it could not be unmounted cleanly"
    } else if is_out_of_space(image, file) {
        "its disk is full"
    } else {
        // An image that was as full before was told of at the start, and nothing was added.
        let lack = after.filter(|_| after != before)?.lack()?;
        let (what, cure) = (lack.words(), lack.cure());
        return Some(format!(
            "{path}: {what}: what was written last may be lost: run 'condatainer overlay resize {cure} {path}'"
        ));
    };
    let first = survey::short_of_space(image, file).map_or("", |_| "make room, then ");
    Some(format!("{path}: {why}: what was written last may be lost: {first}run 'condatainer overlay check {path}'"))
}

/// fuse2fs answers for what it has not written yet. What then finds no room is told to nobody but who asks by fsync(2).
fn is_out_of_space(image: &Image, file: &File) -> bool {
    let has_holes = file.metadata().is_ok_and(|meta| meta.blocks().saturating_mul(512) < image.content.size);
    has_holes && image.path.parent().and_then(create::free_space).is_some_and(|free| free < NOTHING)
}

fn translate(locked: &LockedImage) -> Result<(), AcquireError> {
    locked.make_clean(false)?;
    let find = || whiteout::find(&locked.file, locked.window, Some(SEARCH)).ok().flatten();
    if find().is_some_and(|found| found.kinds.fuse > 0) && whiteout::translate(&locked.file, locked.window).is_ok() {
        find();
    }
    Ok(())
}
