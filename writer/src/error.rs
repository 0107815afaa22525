//! Why something was not done.

use std::io;

use condatainer_formats::ext::ExtError;
use nix::errno::Errno;

/// What a call comes to.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something was not done. Nothing of it was done then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What the program asked for cannot be; the same answer as a disk's.
    #[error("{}", .0.desc())]
    Refused(#[from] Errno),
    /// The image contradicts itself, or has something that is not understood.
    #[error(transparent)]
    Image(#[from] ExtError),
    /// What the image lies on cannot be read or written.
    #[error(transparent)]
    Device(#[from] io::Error),
    /// The journal could not be written earlier: nothing is changed any more, or what is on the disk would contradict itself.
    #[error("the journal could not be written: {0}: nothing more is changed in this image")]
    Aborted(String),
}

impl Error {
    /// The error of a system call that it comes to.
    #[must_use]
    pub fn errno(&self) -> Errno {
        let of = |error: &io::Error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
        match self {
            Self::Refused(errno) => *errno,
            Self::Device(error) | Self::Image(ExtError::Io(error)) => of(error),
            Self::Image(_) => Errno::EUCLEAN,
            Self::Aborted(_) => Errno::EROFS,
        }
    }

    /// The image contradicts itself.
    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Image(ExtError::corrupt(what))
    }
}
