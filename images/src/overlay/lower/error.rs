//! Why what lies below an image cannot be told. Every message names the layer and is one line.

use std::path::{Path, PathBuf};

use crate::image::ImageError;
use condatainer_formats::ext::ExtError;
use condatainer_formats::squashfs::SquashfsError;

/// Why a layer could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LowerError {
    /// It is no image, or a damaged one.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// It is an image, but not one that a system can start from or that lies on one.
    #[error("{}: {what}", path.display())]
    Unusable {
        /// The layer.
        path: PathBuf,
        /// What is the matter: "is a SIF without …".
        what: String,
    },
}

impl LowerError {
    pub(super) fn io(path: &Path, error: std::io::Error) -> Self {
        Self::Image(ImageError::io(path, error))
    }

    pub(super) fn ext(path: &Path, error: ExtError) -> Self {
        Self::Image(ImageError::ext(path, error))
    }

    /// Damage that was found on the way comes wrapped, and says itself what it is.
    pub(super) fn content(path: &Path, error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::Other => Self::Unusable { path: path.into(), what: error.to_string() },
            _ => Self::io(path, error),
        }
    }

    pub(super) fn squashfs(path: &Path, error: SquashfsError) -> Self {
        match error {
            SquashfsError::Io(error) => Self::io(path, error),
            other => Self::Unusable { path: path.into(), what: other.to_string() },
        }
    }
}
