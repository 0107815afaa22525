//! Why an image could not be compared.

use std::path::{Path, PathBuf};

use crate::image::ImageError;
use crate::overlay::lower::LowerError;
use condatainer_formats::ext::ExtError;

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

impl DiffError {
    /// What is wrong in the file system of the image at `path`.
    pub(super) fn ext(path: &Path, error: ExtError) -> Self {
        Self::Image(ImageError::ext(path, error))
    }
}
