//! Why a check could not be made, or a repair was not completed. What a check finds is no error.

use std::io;
use std::path::{Path, PathBuf};

use crate::chown::ChownError;
use crate::e2fsprogs::ToolError;
use crate::held::HeldError;
use crate::image::ImageError;
use crate::whiteout::TranslateError;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The path is not a usable image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Somebody uses it, or it may not be written.
    #[error(transparent)]
    Held(#[from] HeldError),
    /// A tool is missing or failed.
    #[error("{}: {error}", path.display())]
    Tool {
        /// The image.
        path: PathBuf,
        /// What it said.
        error: ToolError,
    },
    /// The owners could not be put right.
    #[error(transparent)]
    Chown(#[from] ChownError),
    /// The whiteouts could not be translated to the end.
    #[error("{}: {error}", path.display())]
    Whiteouts {
        /// The image.
        path: PathBuf,
        /// Why.
        error: TranslateError,
    },
    /// The copy that a repair works on could not be made, or could not take the image's place.
    #[error("{}: the repair works on a copy beside it, which failed: {error}; the image is as it was", path.display())]
    Copy {
        /// The image.
        path: PathBuf,
        /// As the system said it.
        error: io::Error,
    },
    /// Only the owner can replace the file by its repaired copy.
    #[error("{}: belongs to user {owner}, and its repaired copy would belong to you: ask the owner to run this", path.display())]
    NotOwner {
        /// The image.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// The repaired copy is not sound.
    #[error("{}: the copy on which the repair was tried is still damaged; the image is as it was: keep it, and see what `e2fsck -fn {}` says", path.display(), path.display())]
    NotSound {
        /// The image.
        path: PathBuf,
    },
}

impl CheckError {
    pub(crate) fn tool(path: &Path, error: ToolError) -> Self {
        Self::Tool { path: path.into(), error }
    }

    pub(crate) fn copy(path: &Path, error: io::Error) -> Self {
        Self::Copy { path: path.into(), error }
    }
}
