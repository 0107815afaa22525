//! What is known about a place where images lie.

use std::path::PathBuf;

use super::system::System;

/// What was found at a path.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(super) path: PathBuf,
    /// Why it cannot be looked at.
    pub(super) problem: Option<String>,
    /// The kind of the image, and what the kernel says about its lock; nothing for a directory.
    pub(super) image: Option<(&'static str, Lock)>,
    /// A lock on a file of our own beside it.
    pub(super) trial: Trial,
    /// The file system.
    pub(super) system: Option<System>,
}

/// The lock of somebody's image, asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lock {
    Free,
    Held,
    Unsupported(String),
    /// Nothing in it is ever locked.
    None,
}

/// Taking a lock through one descriptor and asking for it through another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trial {
    /// The second was told of the first.
    Seen,
    /// It was not.
    Unseen,
    /// The file system has none.
    Unsupported(String),
    /// No file of ours can be made there.
    NoFile(String),
}
