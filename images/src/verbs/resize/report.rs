//! What a resize tells: while it goes on, and at the end.

use std::path::PathBuf;

use crate::sparse::Copied;

/// What is being done at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The image is being copied: bytes done, and bytes to be done.
    Copying(u64, u64),
    /// e2fsck looks through the file system.
    Checking,
    /// resize2fs works.
    Resizing,
    /// From now on the image itself is changed.
    InPlace,
}

/// What was done; in a dry run, what would be.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// The image.
    #[serde(serialize_with = "crate::system::json_paths::path")]
    pub path: PathBuf,
    /// Size of the file system before, in bytes.
    pub before_bytes: u64,
    /// Size of the file system now, in bytes. The same as before where nothing was to be done.
    pub after_bytes: u64,
    /// In bytes.
    pub block_size: u32,
    /// Blocks that an ordinary user can still write; in a dry run that shrinks or grows, about as many.
    pub blocks_free: u64,
    /// Whether the image itself was changed, and not a copy.
    pub in_place: bool,
    /// How the copy was made.
    pub copied: Copied,
    /// Whether e2fsck had to put something right first.
    pub repaired: bool,
    /// Whether the image could not be locked, because the file system that holds it has no locks.
    pub unlocked: bool,
}
