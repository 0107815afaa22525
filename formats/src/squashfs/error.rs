//! What can be wrong with a squashfs.

use std::io;

use crate::size::Size;

/// Why a squashfs could not be read. The path is added by the caller, who knows it.
#[derive(Debug, thiserror::Error)]
pub enum SquashfsError {
    /// The operating system refused a read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The file ends before the image does, in bytes.
    #[error("is truncated: {} are missing at the end of the squashfs", Size(needed.saturating_sub(*present)))]
    Truncated {
        /// What the superblock says.
        needed: u64,
        /// What is there.
        present: u64,
    },
    /// A structure contradicts itself or its surroundings.
    #[error("is damaged: {0}")]
    Corrupt(&'static str),
    /// Well-formed, but it uses something that this program does not understand.
    #[error("uses {0}, which condatainer does not support")]
    Unsupported(String),
    /// A directory with more names than these.
    #[error(
        "has a directory with more names than {0}, too many to compare: split that directory, or leave this layer out of the comparison"
    )]
    Crowded(usize),
}

impl From<SquashfsError> for io::Error {
    fn from(error: SquashfsError) -> Self {
        match error {
            SquashfsError::Io(error) => error,
            other => Self::other(other),
        }
    }
}
