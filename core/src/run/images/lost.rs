//! Whether an image is as its writer believes, when he has left it.

use std::fs::File;
use std::os::unix::fs::MetadataExt;

use crate::machine::survey;
use crate::run::scratch::NOTHING;
use condatainer_formats::ext::Room;
use condatainer_images::image::Image;
use condatainer_images::verbs::create;

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
