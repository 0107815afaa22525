//! Why an image kept its size, with the command that cures it.

use std::io;
use std::path::{Path, PathBuf};

use crate::acquire::AcquireError;
use crate::image::ImageError;
use crate::replace::ReplaceError;
use crate::temporary::attributes::Unequal;
use crate::tools::ToolError;
use condatainer_formats::ext::ExtError;
use condatainer_formats::size::Size;

/// Why a resize was refused or stopped. Unless the variant says otherwise, the image is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ResizeError {
    /// A write behind the limit on file sizes would end this process in the middle of its work.
    #[error("{}: your limit on file sizes is {} and the image would have {}; raise it (ulimit -f), or ask for less", path.display(), Size(*limit), Size(*size))]
    FileLimit {
        /// The image.
        path: PathBuf,
        /// What was asked for, in bytes.
        size: u64,
        /// In bytes.
        limit: u64,
    },
    /// The path is not a usable image, or the file system inside is damaged or not supported.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The image cannot be had for ourselves, or is not clean.
    #[error(transparent)]
    Acquire(AcquireError),
    /// Not an ext image.
    #[error("{}: is a {kind}; only ext3 images can be resized", path.display())]
    NoExt {
        /// The image.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// The file system is only a part of the file.
    #[error("{}: its file system is a part of the file ({what}), which cannot change its size; make an image with 'condatainer o -s SIZE' and copy the files over", path.display())]
    Embedded {
        /// The image.
        path: PathBuf,
        /// What the file is.
        what: &'static str,
    },
    /// Smaller than any image.
    #[error("{}: {} is too small for an image; the least is 64 MiB (-s 64M)", path.display(), Size(*size))]
    TooSmall {
        /// The image.
        path: PathBuf,
        /// What it would be, in bytes.
        size: u64,
    },
    /// Smaller than what is in it.
    #[error("{}: {} is too small for what it holds; the least is {least_mib} MiB (-s {least_mib}M)", path.display(), Size(*size))]
    Full {
        /// The image.
        path: PathBuf,
        /// What it would be, in bytes.
        size: u64,
        /// In MiB.
        least_mib: u64,
    },
    /// What is in it leaves no room for shrinking.
    #[error("{}: cannot be made smaller: what it holds needs all of it; remove files first", path.display())]
    CannotShrink {
        /// The image.
        path: PathBuf,
    },
    /// Larger than ext3 can be.
    #[error("{}: {} are too many for this image; the most is {}", path.display(), Size(*size), Size(*most))]
    TooLarge {
        /// The image.
        path: PathBuf,
        /// What it would be, in bytes.
        size: u64,
        /// In bytes.
        most: u64,
    },
    /// The copy would leave other names of the file behind.
    #[error("{}: has {links} hard links, and the others would keep the old image; remove them, or use --in-place, which a crash can damage", path.display())]
    HardLinks {
        /// The image.
        path: PathBuf,
        /// How many names the file has.
        links: u64,
    },
    /// No copy can be made in the image's directory.
    #[error("{}: no copy of it can be made in {}: {error}; use --in-place, which a crash can damage", path.display(), directory.display())]
    NoCopy {
        /// The image.
        path: PathBuf,
        /// Where the copy would be.
        directory: PathBuf,
        /// As the system said it.
        error: io::Error,
    },
    /// Not enough space for a copy.
    #[error("{}: a copy of it needs {}, {} are free in {}; make room, or use --in-place, which a crash can damage", path.display(), Size(*needed), Size(*available), directory.display())]
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
    /// The copy cannot be made equal to the file.
    #[error("{}: its copy cannot have the same {what}: {error}; run this as the owner, or use --in-place, which a crash can damage", path.display())]
    Attribute {
        /// The image.
        path: PathBuf,
        /// What would be lost: "owner", an extended attribute.
        what: String,
        /// As the system said it.
        error: io::Error,
    },
    /// e2fsck or resize2fs is missing or failed on the copy.
    #[error("{}: {error}; the image is as it was", path.display())]
    Tool {
        /// The image.
        path: PathBuf,
        /// What it said.
        error: ToolError,
    },
    /// e2fsck found more than it may put right by itself.
    #[error("{}: {error}; run `e2fsck -f {}` and answer its questions", path.display(), path.display())]
    Damaged {
        /// The image.
        path: PathBuf,
        /// What it said.
        error: ToolError,
    },
    /// The result is not what it should be.
    #[error("{}: the resized copy was thrown away: {what}; the image is as it was", path.display())]
    Unverified {
        /// The image.
        path: PathBuf,
        /// What differs.
        what: String,
    },
    /// Somebody changed the file meanwhile.
    #[error("{}: {what} meanwhile, so the resized copy was thrown away; try again", path.display())]
    Changed {
        /// The image.
        path: PathBuf,
        /// What happened.
        what: String,
    },
    /// A signal asked to stop.
    #[error("{}: interrupted; the image is as it was", path.display())]
    Interrupted {
        /// The image.
        path: PathBuf,
    },
    /// Something failed while the image itself was being changed.
    #[error("{}: {what}; it may be damaged now: run `e2fsck -f -y {}`, and if files are missing, go back to a copy", path.display(), path.display())]
    InPlace {
        /// The image.
        path: PathBuf,
        /// What failed.
        what: String,
    },
    /// Any other answer of the operating system.
    #[error("{}: cannot be resized: {error}; the image is as it was", path.display())]
    Io {
        /// The image.
        path: PathBuf,
        /// As the system said it.
        error: io::Error,
    },
}

impl ResizeError {
    pub(super) fn io(path: &Path, error: io::Error) -> Self {
        Self::Io { path: path.into(), error }
    }

    /// In place is the way out of what stands against a copy.
    pub(super) fn replace(path: &Path, error: ReplaceError) -> Self {
        let path = path.to_owned();
        match error {
            ReplaceError::HardLinks { links } => Self::HardLinks { path, links },
            ReplaceError::NoCopy { directory, error } => Self::NoCopy { path, directory, error },
            ReplaceError::NoSpace { directory, needed, available } => {
                Self::NoSpace { path, directory, needed, available }
            }
            ReplaceError::Attribute(Unequal { what, error }) => Self::Attribute { path, what, error },
            ReplaceError::Changed { what } => Self::Changed { path, what },
            ReplaceError::Acquire(error) => error.into(),
            ReplaceError::Io(error) if error.kind() == io::ErrorKind::Interrupted => Self::Interrupted { path },
            ReplaceError::Io(error) => Self::Io { path, error },
        }
    }

    pub(super) fn ext(path: &Path, error: ExtError) -> Self {
        Self::Image(ImageError::ext(path, error))
    }
}

impl From<AcquireError> for ResizeError {
    fn from(error: AcquireError) -> Self {
        match error {
            AcquireError::NoExt { path, kind } => Self::NoExt { path, kind },
            other => Self::Acquire(other),
        }
    }
}
