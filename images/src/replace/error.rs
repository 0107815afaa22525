//! Why a copy could not take an image's place. Who wanted it says so in his own words, with the cure that he knows.

use std::io;
use std::path::PathBuf;

use super::place::Place;
use crate::acquire::AcquireError;
use crate::temporary::attributes::Unequal;

/// The image is as it was.
#[derive(Debug)]
pub(crate) enum ReplaceError {
    /// The file has other names, which would keep the original.
    HardLinks {
        /// How many in all.
        links: u64,
    },
    /// Nothing can be made, or renamed, in the image's directory.
    NoCopy {
        /// Where the copy would be.
        directory: PathBuf,
        error: io::Error,
    },
    /// Not enough space; in bytes.
    NoSpace { directory: PathBuf, needed: u64, available: u64 },
    /// The copy cannot be made equal to the file.
    Attribute(Unequal),
    /// Somebody did something to the image.
    Changed {
        /// In words: "somebody wrote to it".
        what: String,
    },
    /// Somebody has it.
    Acquire(AcquireError),
    /// Any other answer of the operating system.
    Io(io::Error),
}

impl ReplaceError {
    pub(super) fn no_copy(place: &Place, error: io::Error) -> Self {
        Self::NoCopy { directory: place.directory().into(), error }
    }
}

impl From<io::Error> for ReplaceError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<AcquireError> for ReplaceError {
    fn from(error: AcquireError) -> Self {
        Self::Acquire(error)
    }
}

impl From<Unequal> for ReplaceError {
    fn from(unequal: Unequal) -> Self {
        Self::Attribute(unequal)
    }
}
