//! Why an image could not be made.

use std::io;
use std::path::{Path, PathBuf};

use super::MAX_SIZE;
use crate::chown::ChownError;
use crate::e2fsprogs::ToolError;
use crate::image::ImageError;

/// Why an image was not made. Nothing is left at the path.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Too small for a file system with a journal.
    #[error("{}: {size} bytes are too few for an image; the least is 64 MiB (-s 64M)", path.display())]
    TooSmall {
        /// The target.
        path: PathBuf,
        /// In bytes.
        size: u64,
    },
    /// Larger than ext3 can be.
    #[error("{}: {size} bytes are too many for an image; the most is {} bytes", path.display(), MAX_SIZE)]
    TooLarge {
        /// The target.
        path: PathBuf,
        /// In bytes.
        size: u64,
    },
    /// Something is there already.
    #[error("{}: exists already; name another file, or remove it first", path.display())]
    Exists {
        /// The target.
        path: PathBuf,
    },
    /// The directory for it is not there.
    #[error("{}: the directory {} does not exist; make it first", path.display(), directory.display())]
    NoDirectory {
        /// The target.
        path: PathBuf,
        /// What is missing.
        directory: PathBuf,
    },
    /// The label does not fit.
    #[error("{}: the label \"{label}\" is too long or has control characters; at most 16 bytes fit", path.display())]
    Label {
        /// The target.
        path: PathBuf,
        /// Escaped.
        label: String,
    },
    /// Not enough space for all of it now.
    #[error("{}: {needed} bytes are to be allocated, {available} are free; make it smaller, or sparse (without --allocate)", path.display())]
    NoSpace {
        /// The target.
        path: PathBuf,
        /// In bytes.
        needed: u64,
        /// In bytes.
        available: u64,
    },
    /// The file system cannot reserve space.
    #[error("{}: the file system here cannot allocate space in advance; leave --allocate out", path.display())]
    CannotAllocate {
        /// The target.
        path: PathBuf,
    },
    /// The temporary directory cannot be used.
    #[error("{}: no temporary directory could be made: {error}; set TMPDIR to one that you can write to", path.display())]
    Scratch {
        /// The target.
        path: PathBuf,
        /// As the system said it.
        error: io::Error,
    },
    /// mke2fs is missing or failed.
    #[error("{}: {error}", path.display())]
    Tool {
        /// The target.
        path: PathBuf,
        /// What it said.
        error: ToolError,
    },
    /// The fresh file system could not be given to its owner.
    #[error("{}: the owner could not be set: {error}", path.display())]
    Owner {
        /// The target.
        path: PathBuf,
        /// Why.
        error: ChownError,
    },
    /// The finished image could not be read back.
    #[error(transparent)]
    Image(ImageError),
    /// Any other answer of the operating system.
    #[error("{}: cannot be made: {error}", path.display())]
    Io {
        /// The target.
        path: PathBuf,
        /// As the system said it.
        error: io::Error,
    },
}

impl CreateError {
    pub(super) fn io(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::AlreadyExists => Self::Exists { path },
            _ => Self::Io { path, error },
        }
    }
}
