//! Why a check could not be made, or a repair was not completed. What a check finds is no error.

use std::io;
use std::path::{Path, PathBuf};

use super::finding::quoted;
use crate::acquire::AcquireError;
use crate::image::{Image, ImageError};
use crate::overlay::whiteout::TranslateError;
use crate::replace::ReplaceError;
use crate::tools::ToolError;
use crate::verbs::chown::ChownError;
use condatainer_formats::size::Size;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The path is not a usable image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Somebody uses it, or it may not be written.
    #[error(transparent)]
    Acquire(#[from] AcquireError),
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
    /// The copy would leave other names of the file behind.
    #[error("{}: has {links} hard links, and the repair works on a copy: the others would keep the damaged image; remove them ('find DIRECTORY -samefile {}' lists them), then run this again", path.display(), quoted(path))]
    HardLinks {
        /// The image.
        path: PathBuf,
        /// How many names the file has.
        links: u64,
    },
    /// Not enough space for a copy.
    #[error("{}: the repair works on a copy beside it, which needs {}; {} are free in {}: make room, then run this again", path.display(), Size(*needed), Size(*available), directory.display())]
    NoSpace {
        /// The image.
        path: PathBuf,
        /// Where the copy would be.
        directory: PathBuf,
        /// In bytes.
        needed: u64,
        /// In bytes.
        available: u64,
    },
    /// Somebody changed the file meanwhile.
    #[error("{}: {what} meanwhile, so the repaired copy was thrown away; end what uses it, then run this again", path.display())]
    Changed {
        /// The image.
        path: PathBuf,
        /// What happened.
        what: String,
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

    pub(super) fn replace(image: &Image, error: ReplaceError) -> Self {
        let path = image.path.clone();
        match error {
            ReplaceError::HardLinks { links } => Self::HardLinks { path, links },
            ReplaceError::NoSpace { directory, needed, available } => {
                Self::NoSpace { path, directory, needed, available }
            }
            ReplaceError::Changed { what } => Self::Changed { path, what },
            ReplaceError::Attribute(unequal) if unequal.what.starts_with("owner") => {
                Self::NotOwner { path, owner: image.uid }
            }
            ReplaceError::Attribute(unequal) => Self::Copy { path, error: io::Error::other(unequal.to_string()) },
            ReplaceError::Acquire(error) => Self::Acquire(error),
            ReplaceError::NoCopy { error, .. } | ReplaceError::Io(error) => Self::Copy { path, error },
        }
    }

    pub(crate) fn copy(path: &Path, error: io::Error) -> Self {
        Self::Copy { path: path.into(), error }
    }
}
