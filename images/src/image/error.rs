//! Why a path is not a usable image. Every message names the path and is one line.

use std::io;
use std::path::{Path, PathBuf};

use condatainer_formats::ext::ExtError;
use condatainer_formats::kind::KindError;
use condatainer_formats::sif::SifError;
use condatainer_formats::size::Size;
use condatainer_formats::squashfs::SquashfsError;

use crate::system::likeness::neighbour;

/// Why a path could not be identified as an image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// There is nothing at the path.
    #[error("{}: no such file or directory{}", path.display(), did_you_mean(near.as_deref()))]
    NotFound {
        /// As given.
        path: PathBuf,
        /// A name in that directory which is like it.
        near: Option<String>,
    },
    /// The caller may not read it.
    #[error("{}: permission denied (it must be readable by you)", path.display())]
    PermissionDenied {
        /// As given.
        path: PathBuf,
    },
    /// A fifo, socket or device.
    #[error("{}: is {what}, not an image", path.display())]
    NotAFile {
        /// As given.
        path: PathBuf,
        /// With an article: "a fifo".
        what: &'static str,
    },
    /// It has no content at all.
    #[error("{}: is empty, not an image", path.display())]
    Empty {
        /// As given.
        path: PathBuf,
    },
    /// The header promises more than the file has.
    #[error("{}: is truncated: {} are missing at the end of its {what}; copy it again", path.display(), Size(needed.saturating_sub(*present)))]
    Truncated {
        /// As given.
        path: PathBuf,
        /// Which part: "ext3 file system".
        what: &'static str,
        /// What the header says, in bytes.
        needed: u64,
        /// What there is, in bytes.
        present: u64,
    },
    /// The content is none of the kinds that can be a layer.
    #[error("{}: {}", path.display(), unknown(*found))]
    Unknown {
        /// As given.
        path: PathBuf,
        /// What it is, where that is easily told: "a gzip archive".
        found: Option<&'static str>,
    },
    /// The right kind, but a contradiction inside.
    #[error("{}: is damaged: {what}", path.display())]
    Corrupt {
        /// As given.
        path: PathBuf,
        /// What contradicts what.
        what: String,
    },
    /// The right kind, using something that is not supported.
    #[error("{}: uses {what}, which condatainer does not support", path.display())]
    Unsupported {
        /// As given.
        path: PathBuf,
        /// What it is, by name.
        what: String,
    },
    /// Any other answer of the operating system.
    #[error("{}: cannot be read: {error}", path.display())]
    Io {
        /// As given.
        path: PathBuf,
        /// As the system said it.
        error: io::Error,
    },
}

fn unknown(found: Option<&str>) -> String {
    let kinds = "a layer is a squashfs, ext3 or SIF image, or a directory";
    match found {
        Some(found) => format!("is {found}; {kinds}"),
        None => format!("is not an image that condatainer knows; {kinds}"),
    }
}

fn did_you_mean(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| format!(": did you mean {near}?"))
}

impl ImageError {
    /// What the system answered about `path`.
    #[must_use]
    pub fn io(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::not_found(path),
            io::ErrorKind::PermissionDenied => Self::PermissionDenied { path },
            _ => Self::Io { path, error },
        }
    }

    fn not_found(path: PathBuf) -> Self {
        let near = neighbour(&path);
        Self::NotFound { path, near }
    }

    /// Puts the path in front of why a file is no image.
    pub(crate) fn kind(path: &Path, error: KindError) -> Self {
        match error {
            KindError::Io(error) => Self::io(path, error),
            KindError::Empty => Self::Empty { path: path.to_owned() },
            KindError::Unknown(found) => Self::Unknown { path: path.to_owned(), found },
            KindError::Sif(error) => Self::sif(path, error),
            KindError::Squashfs(error) => Self::squashfs(path, error),
            KindError::Ext(error) => Self::ext(path, error),
        }
    }

    fn sif(path: &Path, error: SifError) -> Self {
        let path = path.to_owned();
        match error {
            SifError::Truncated { needed, present } => Self::Truncated { path, what: "SIF", needed, present },
            SifError::Corrupt(what) => Self::Corrupt { path, what: what.into() },
        }
    }

    /// Puts the path in front of what is wrong with a squashfs.
    pub(crate) fn squashfs(path: &Path, error: SquashfsError) -> Self {
        let path = path.to_owned();
        match error {
            SquashfsError::Io(error) => Self::io(&path, error),
            SquashfsError::Truncated { needed, present } => Self::Truncated { path, what: "squashfs", needed, present },
            SquashfsError::Corrupt(what) => Self::Corrupt { path, what: what.into() },
            SquashfsError::Unsupported(what) => Self::Unsupported { path, what },
            crowded @ SquashfsError::Crowded(_) => Self::Corrupt { path, what: crowded.to_string() },
        }
    }

    /// Puts the path in front of what the ext engine found.
    pub(crate) fn ext(path: &Path, error: ExtError) -> Self {
        let path = path.to_owned();
        match error {
            ExtError::Io(error) => Self::io(&path, error),
            ExtError::NotExt => Self::Unknown { path, found: None },
            ExtError::Truncated { needed, present } => {
                Self::Truncated { path, what: "ext file system", needed, present }
            }
            ExtError::Corrupt(what) => Self::Corrupt { path, what },
            ExtError::Unsupported(what) => Self::Unsupported { path, what },
        }
    }

    /// The path that was asked for.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::NotFound { path, .. }
            | Self::PermissionDenied { path }
            | Self::NotAFile { path, .. }
            | Self::Empty { path }
            | Self::Truncated { path, .. }
            | Self::Unknown { path, .. }
            | Self::Corrupt { path, .. }
            | Self::Unsupported { path, .. }
            | Self::Io { path, .. } => path,
        }
    }
}
