//! What an image changes against what lies below it: added, changed and deleted, told without a mount and without a lock.
//!
//! The image's upper directory is walked beside the merged tree below ([`crate::overlay::lower`]). What a container would see is compared
//! with what it would see without the image, so it does not matter by which kind of whiteout something went away.
//!
//! A writer's copy of a file is a change only where it differs. Compared are: kind, content (size first, then every byte), link
//! target, device number, mode, owner, and for a regular file the time of its last change, in seconds. Of a directory only
//! mode and owner count. An owner is no change where the writer could not have kept it; `owner.rs` says when.

mod compare;
mod entry;
mod owner;
mod summary;
mod walk;

pub use entry::{Aspect, Change, Entry, Facts};
pub use summary::{Count, Summary, Totals, by_directory};

use crate::image::{Image, ImageError, Opened};
use crate::overlay::lower::{Lower, LowerError};
use condatainer_formats::ext::{ExtError, Tree, Window};
use std::path::{Path, PathBuf};
use walk::Walk;

/// Why the changes could not be told.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// The image cannot be read.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Something below it cannot be read.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// It is an image, but has no ext file system.
    #[error("{}: is a {kind} without a writable overlay; only ext3 images have changes to show", path.display())]
    NoExt {
        /// The image.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
}

/// Everything that an image changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// What is added, changed or deleted, sorted by path.
    pub entries: Vec<Entry>,
    /// In all.
    pub totals: Totals,
    /// Files that the image has copies of, without any difference.
    pub copies: Count,
    /// Directories that a kernel overlay has renamed: what they took along from below counts as deleted, not as moved.
    pub renamed_directories: u64,
}

/// Tells what the image changes against `lower`.
///
/// # Errors
/// See [`DiffError`].
pub fn diff(image: &Opened, lower: &Lower) -> Result<Changes, DiffError> {
    let path = &image.image.path;
    let window = require_ext(&image.image)?;
    let tree = Tree::open(&image.file, window).map_err(|error| told(path, error))?;
    changes(path, &tree, lower)
}

/// Where the file system lies whose changes can be told.
///
/// # Errors
/// There is none.
pub fn require_ext(image: &Image) -> Result<Window, DiffError> {
    image.ext_window().ok_or_else(|| DiffError::NoExt { path: image.path.clone(), kind: image.kind.name() })
}

/// As [`diff`], over an open tree; `path` is for messages.
fn changes(path: &Path, tree: &Tree<'_>, lower: &Lower) -> Result<Changes, DiffError> {
    let upper = tree.upper().map_err(|error| told(path, error))?;
    Walk::new(path, tree, lower, upper.ids).all(upper.ino)
}

fn told(path: &Path, error: ExtError) -> DiffError {
    DiffError::Image(ImageError::ext(path, error))
}
