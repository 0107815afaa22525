//! Why an image was not sealed, with the command that cures it.

use std::io;
use std::path::{Path, PathBuf};

use crate::acquire::AcquireError;
use crate::image::ImageError;
use crate::module::sidecar::distrust;
use crate::overlay::lower::LowerError;
use crate::tools::ToolError;
use crate::tools::disk_full;
use crate::trust::TrustError;
use crate::trust::open_dir::directory_of;

/// Why there is no layer. Nothing is left at its path, and the image is as it was.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The path is not a usable image, or the file system inside is damaged or not supported.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The image cannot be read in peace, or is not clean.
    #[error(transparent)]
    Acquire(AcquireError),
    /// It is an image, but nothing in it can be sealed.
    #[error("{}: is a {kind} without a writable overlay; only what was written to an ext3 image can be sealed", path.display())]
    NoUpper {
        /// The image.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// Something is there already.
    #[error("{}: exists already; name another file, or replace it with --force", path.display())]
    Exists {
        /// The layer, or the file of variables beside it.
        path: PathBuf,
    },
    /// The layer's path leads to the image, or to something that is no file.
    #[error("{}: {what}; name another file for the layer", path.display())]
    NotAPlace {
        /// The layer.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The directory for it is not there.
    #[error("{}: the directory {} does not exist; make it first", path.display(), directory.display())]
    NoDirectory {
        /// The layer.
        path: PathBuf,
        /// What is missing.
        directory: PathBuf,
    },
    /// No space where the layer is to be.
    #[error("{}: there is no space left in {}; free some, or name another place", path.display(), directory.display())]
    NoSpace {
        /// The layer.
        path: PathBuf,
        /// Its directory.
        directory: PathBuf,
    },
    /// This compression has no such level.
    #[error("--level {level}: {compression} has {}", match range { Some((low, high)) => format!("the levels {low} to {high}"), None => "no levels; leave it out".into() })]
    Level {
        /// As asked for.
        level: u32,
        /// Its name.
        compression: &'static str,
        /// The levels that it has.
        range: Option<(u32, u32)>,
    },
    /// No block size that squashfs knows.
    #[error("--block-size {size}: write 4K, 8K, 16K and so on, up to 1M")]
    BlockSize {
        /// In bytes.
        size: u32,
    },
    /// The base decides which names must be hidden.
    #[error(
        "{}: the directory {inside} hides everything below it, which a layer says name by name: name the base (-b, CONDATAINER_BASE or 'base' in the configuration), and with -o the layers between",
        path.display()
    )]
    NeedsBase {
        /// The image.
        path: PathBuf,
        /// The first such directory.
        inside: String,
    },
    /// The stack below cannot be read.
    #[error(transparent)]
    Below(#[from] LowerError),
    /// A part of the image is an allusion to what lies below.
    #[error("{}: {inside} only points to what lies below it (a kernel overlay with redirect_dir or metacopy); copy it to another name inside the container, remove it there, and seal again", path.display())]
    Redirect {
        /// The image.
        path: PathBuf,
        /// The directory or file.
        inside: String,
    },
    /// mksquashfs is missing, too old, or failed.
    #[error("{}: {error}", path.display())]
    Tool {
        /// The layer.
        path: PathBuf,
        /// What it said.
        error: ToolError,
    },
    /// mksquashfs stopped listening.
    #[error("mksquashfs takes no more: {0}")]
    Feed(io::Error),
    /// The caller does not want it any more.
    #[error("{}: interrupted; nothing is left of it", path.display())]
    Interrupted {
        /// The layer.
        path: PathBuf,
    },
    /// The finished layer is not what was written.
    #[error("{}: mksquashfs made {found} inodes of {expected}; nothing is left of it: please report this", path.display())]
    Unverified {
        /// The layer.
        path: PathBuf,
        /// Inodes that were written.
        expected: u64,
        /// Inodes that the layer has.
        found: u64,
    },
    /// The file of variables beside the image cannot be read, or is not believed.
    #[error("{0}")]
    Beside(String),
    /// Any other answer of the operating system.
    #[error("{}: cannot be made: {error}", path.display())]
    Io {
        /// The layer, or the file of variables beside it.
        path: PathBuf,
        /// As the system said it.
        error: io::Error,
    },
}

impl From<AcquireError> for SealError {
    fn from(error: AcquireError) -> Self {
        match error {
            AcquireError::NoExt { path, kind } => Self::NoUpper { path, kind },
            other => Self::Acquire(other),
        }
    }
}

impl SealError {
    pub(super) fn io(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::AlreadyExists => Self::Exists { path },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::no_space(&path),
            _ => Self::Io { path, error },
        }
    }

    pub(super) fn no_space(path: &Path) -> Self {
        let directory = directory_of(path);
        Self::NoSpace { path: path.into(), directory: directory.into() }
    }

    pub(super) fn image(path: &Path, error: io::Error) -> Self {
        Self::Image(ImageError::io(path, error))
    }

    pub(super) fn beside(error: TrustError) -> Self {
        Self::Beside(if error.is_distrust() { distrust(&error) } else { error.to_string() })
    }

    pub(super) fn tool(path: &Path, error: ToolError) -> Self {
        match error {
            ToolError::Failed { said, .. } if disk_full::is_said(&said) => Self::no_space(path),
            error => Self::Tool { path: path.into(), error },
        }
    }

    pub(super) fn needs_base(path: &Path, directory: &[u8]) -> Self {
        Self::NeedsBase { path: path.into(), inside: display(directory) }
    }
}

/// A path inside the image, which may hold any bytes, with a slash in front and without control characters.
pub(super) fn display(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path).escape_debug())
}
