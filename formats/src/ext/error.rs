//! What can be wrong with an ext file system: unreadable, damaged, or newer than what we understand.

use std::io;

use crate::file::FileType;
use crate::size::Size;

/// Why an ext file system could not be read. The path is added by the caller, who knows it.
#[derive(Debug, thiserror::Error)]
pub enum ExtError {
    /// The operating system refused a read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// There is no ext superblock where one belongs.
    #[error("is not an ext2, ext3 or ext4 file system")]
    NotExt,
    /// The file ends before the file system does. Both in bytes.
    #[error("is truncated: {} are missing at the end of the file system", Size(needed.saturating_sub(*present)))]
    Truncated {
        /// What the superblock says, in bytes.
        needed: u64,
        /// What is there, in bytes.
        present: u64,
    },
    /// A structure contradicts itself or its surroundings.
    #[error("is damaged: {0}; try `condatainer overlay check`")]
    Corrupt(String),
    /// Well-formed, but it uses something that this program does not understand.
    #[error("uses {0}, which condatainer does not support")]
    Unsupported(String),
}

impl ExtError {
    /// Damage, in words.
    pub fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt(what.into())
    }

    /// What is not understood, by name.
    pub fn unsupported(what: impl Into<String>) -> Self {
        Self::Unsupported(what.into())
    }

    /// The image's root has no directory `name`.
    pub fn without_directory(name: &str) -> Self {
        Self::unsupported(format!("a layout without a directory {name}/"))
    }

    /// In the image's root `name` is something else than a directory.
    pub fn other_than_directory(name: &str, kind: FileType) -> Self {
        Self::unsupported(format!("a layout in which {name} is {}", kind.describe()))
    }
}
