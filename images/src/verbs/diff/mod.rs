//! What an image changes against what lies below it: added, changed and deleted, told without a mount and without a lock.
//!
//! The image's upper directory is walked beside the merged tree below ([`crate::overlay::lower`]). What a container would see is compared
//! with what it would see without the image, so it does not matter by which kind of whiteout something went away.
//!
//! A writer's copy of a file is a change only where it differs. Compared are: kind, content (size first, then every byte), link
//! target, device number, mode, owner, and for a regular file the time of its last change, in seconds. Of a directory only
//! mode and owner count. An owner is no change where the writer could not have kept it; `owner.rs` says when.

mod changes;
mod compare;
mod entry;
mod error;
mod owner;
mod summary;
mod walk;

pub use changes::Changes;
pub use entry::{Aspect, Change, Entry, Facts};
pub use error::DiffError;
pub use summary::{Count, Summary, Totals, by_directory};

use crate::image::{Image, Opened};
use crate::overlay::lower::Lower;
use condatainer_formats::ext::{Tree, Window};
use walk::Comparison;

/// Tells what the image changes against `lower`.
///
/// # Errors
/// See [`DiffError`].
pub fn diff(image: &Opened, lower: &Lower) -> Result<Changes, DiffError> {
    let path = &image.image.path;
    let window = require_ext(&image.image)?;
    let tree = Tree::open(&image.file, window).map_err(|error| DiffError::ext(path, error))?;
    let upper = tree.upper().map_err(|error| DiffError::ext(path, error))?;
    Comparison::new(path, &tree, lower, upper.ids).all(upper.ino)
}

/// Where the file system lies whose changes can be told.
///
/// # Errors
/// There is none.
pub fn require_ext(image: &Image) -> Result<Window, DiffError> {
    image.ext_window().ok_or_else(|| DiffError::NoExt { path: image.path.clone(), kind: image.kind.name() })
}
