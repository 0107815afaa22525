//! What an image still has room for. It is full before its file system is: fuse2fs keeps blocks back.

use serde::Serialize;

use crate::ext::superblock::Superblock;

/// fuse2fs takes a write only where all of it fits, and the kernel sends up to so many bytes at once.
const ONE_WRITE: u64 = 1 << 20;

/// What a program in a container can still write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// In bytes, without what fuse2fs keeps back.
    pub bytes: u64,
    /// Files and directories that can be made.
    pub inodes: u32,
}

/// What a full image has run out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Lack {
    /// Blocks for what is in files.
    Blocks,
    /// Inodes, one for each file and directory.
    Inodes,
}

impl Room {
    /// What the superblock says, less what fuse2fs keeps back.
    #[must_use]
    pub fn of(sb: &Superblock) -> Self {
        let blocks = sb.free_blocks_count.saturating_sub(sb.reserved_by_fuse2fs(sb.blocks_count));
        Self { bytes: blocks.saturating_mul(sb.block_size.into()), inodes: sb.free_inodes_count }
    }

    /// What there is nothing left of.
    #[must_use]
    pub fn lack(&self) -> Option<Lack> {
        if self.inodes == 0 {
            return Some(Lack::Inodes);
        }
        (self.bytes < ONE_WRITE).then_some(Lack::Blocks)
    }
}

impl Lack {
    /// What is the matter with an image that has run out of it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Blocks => "is full",
            Self::Inodes => "is full (no inodes are left, so no file can be made)",
        }
    }

    /// The options of `condatainer overlay resize` that help. A larger image has more inodes.
    #[must_use]
    pub fn cure(self) -> &'static str {
        match self {
            Self::Blocks => "--free 1G",
            Self::Inodes => "-s +1G",
        }
    }
}
