//! The image to be made.

use std::path::PathBuf;

use condatainer_formats::ext::Ids;

/// The smallest image, in bytes: Apptainer's own limit, which leaves room for a journal.
pub const MIN_SIZE: u64 = 64 << 20;
/// The largest image, in bytes: what 32-bit block numbers reach, for Apptainer takes no others.
pub(crate) const MAX_SIZE: u64 = (u32::MAX as u64) * BLOCK;

/// The size of a block, in bytes.
pub(super) const BLOCK: u64 = 4096;
/// What kind of files the image is meant for; it decides how many can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Many small files, one per 4 KiB: nothing can run out of inodes before it runs out of blocks.
    Small,
    /// Software environments, one file per 16 KiB.
    #[default]
    Balanced,
    /// Few large files, one per 64 KiB.
    Large,
}

impl Profile {
    /// Bytes of image per inode.
    #[must_use]
    pub fn bytes_per_inode(self) -> u64 {
        match self {
            Self::Small => 4096,
            Self::Balanced => 16384,
            Self::Large => 65536,
        }
    }
}

/// The image to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Where; nothing may be there yet.
    pub path: PathBuf,
    /// Size in bytes; what does not fill a block of 4 KiB is dropped.
    pub size_bytes: u64,
    /// How many files it is for.
    pub profile: Profile,
    /// Owner of `upper` and `work`: the caller, or root for use with fakeroot.
    pub owner: Ids,
    /// Volume label, up to 16 bytes.
    pub label: Option<String>,
    /// Reserves all the space now instead of when it is written.
    pub allocate: bool,
    /// What the image is to hold; otherwise `upper` and `work` are empty.
    pub contents: Option<Contents>,
    /// Where it is made before it moves to its place, for instance a fast local disk; otherwise beside the target.
    pub tmpdir: Option<PathBuf>,
}

/// What an image holds from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// A directory with `upper` and `work`.
    pub directory: PathBuf,
    /// Whom it belongs to; in the image what is theirs is the image's owner's.
    pub owner: Ids,
}

impl Spec {
    /// A sparse image of the default profile.
    #[must_use]
    pub fn new(path: PathBuf, size_bytes: u64, owner: Ids) -> Self {
        Self {
            path,
            size_bytes,
            profile: Profile::default(),
            owner,
            label: None,
            allocate: false,
            contents: None,
            tmpdir: None,
        }
    }
}
