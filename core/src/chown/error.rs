//! Why a chown did not happen, with the command that cures it.

use std::io;
use std::path::{Path, PathBuf};

use crate::e2fsprogs::ToolError;
use crate::ext::ExtError;
use crate::image::ImageError;

/// Why a chown was refused or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ChownError {
    /// The path is not a usable image, or the file system inside is damaged or not supported.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// It is an image, but nothing in it can be chowned.
    #[error("{}: is a {kind} without a writable overlay; only ext3 images have owners to change", path.display())]
    NoOwners {
        /// The image.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// The file cannot be opened for writing.
    #[error("{}: cannot be opened for writing: {error}", path.display())]
    NotWritable {
        /// The image.
        path: PathBuf,
        /// As the system said it.
        error: io::Error,
    },
    /// Somebody uses it.
    #[error("{}: is in use ({by}); try again when it is free", path.display())]
    Busy {
        /// The image.
        path: PathBuf,
        /// Who, as far as that can be told.
        by: String,
    },
    /// It was not unmounted cleanly.
    #[error("{}: {what}; run `e2fsck -p {}` first", path.display(), path.display())]
    Dirty {
        /// The image.
        path: PathBuf,
        /// What is left to be done.
        what: &'static str,
    },
    /// e2fsck was to clean it and did not.
    #[error("{}: {error}", path.display())]
    Tool {
        /// The image.
        path: PathBuf,
        /// What e2fsck said.
        error: ToolError,
    },
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
    /// Reading back, some inodes are not what they should be.
    #[error("{}: {left} inodes are not as written; run `e2fsck -f {}`, then the same command again", path.display(), path.display())]
    Unverified {
        /// The image.
        path: PathBuf,
        /// How many.
        left: u64,
    },
}

impl ChownError {
    pub(crate) fn ext(path: &Path, error: ExtError) -> Self {
        Self::Image(ImageError::ext(path, error))
    }
}
