//! Why a chown did not happen, with the command that cures it.

use std::io;
use std::path::{Path, PathBuf};

use crate::acquire::AcquireError;
use crate::image::ImageError;
use condatainer_formats::ext::ExtError;

/// Why a chown was refused or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ChownError {
    /// The path is not a usable image, or the file system inside is damaged or not supported.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The image cannot be had for ourselves, or is not clean.
    #[error(transparent)]
    Acquire(#[from] AcquireError),
    /// A path inside the image is not there.
    #[error("{}: there is no {} in it", image.display(), inside.display())]
    NoSuchPath {
        /// The image.
        image: PathBuf,
        /// As it was asked for.
        inside: PathBuf,
    },
    /// A write failed on the way.
    #[error("{}: stopped before the end: {error}; nothing is lost, run the same command again", path.display())]
    Interrupted {
        /// The image.
        path: PathBuf,
        /// As the system said it.
        error: io::Error,
    },
    /// A read failed after the first write.
    #[error("{error}; owners may have changed in part: run `condatainer overlay check {}`, then the same command again", error.path().display())]
    InPart {
        /// What cannot be read.
        error: ImageError,
    },
    /// Reading back, some inodes are not what they should be.
    #[error("{}: {left} inodes are not as written; run `condatainer overlay check --fix {}`, then the same command again", path.display(), path.display())]
    Unverified {
        /// The image.
        path: PathBuf,
        /// How many.
        left: u64,
    },
}

impl ChownError {
    /// Whether something in the image may be different from before.
    pub(crate) fn may_have_written(&self) -> bool {
        matches!(self, Self::Interrupted { .. } | Self::InPart { .. } | Self::Unverified { .. })
    }

    /// What cannot be read now must not be taken for an image that was left alone.
    pub(super) fn after_writing(self) -> Self {
        match self {
            Self::Image(error) => Self::InPart { error },
            other => other,
        }
    }

    pub(crate) fn ext(path: &Path, error: ExtError) -> Self {
        Self::Image(ImageError::ext(path, error))
    }
}
