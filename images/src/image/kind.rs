//! What a path turned out to be.

use std::path::{Path, PathBuf};

use condatainer_formats::ext::Window;
use condatainer_formats::kind;
use condatainer_formats::sif::Sif;

/// What kind of image a path is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An ext2, ext3 or ext4 file system; the number says which.
    Ext(u8),
    /// A squashfs.
    Squashfs,
    /// A SIF with its partitions.
    Sif(Sif),
    /// A directory.
    Directory,
}

impl From<kind::Kind> for Kind {
    fn from(kind: kind::Kind) -> Self {
        match kind {
            kind::Kind::Ext(version) => Self::Ext(version),
            kind::Kind::Squashfs => Self::Squashfs,
            kind::Kind::Sif(sif) => Self::Sif(sif),
        }
    }
}

impl Kind {
    /// One word, for messages and JSON: `ext3`, `squashfs`, `sif`, `directory`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ext(2) => "ext2",
            Self::Ext(3) => "ext3",
            Self::Ext(_) => "ext4",
            Self::Squashfs => "squashfs",
            Self::Sif(_) => "sif",
            Self::Directory => "directory",
        }
    }
}

/// A path that was looked at, and what it turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// As given.
    pub path: PathBuf,
    /// From the content.
    pub kind: Kind,
    /// The device that holds the file (`st_dev`); with `ino` it is the identity of the file.
    pub dev: u64,
    /// The file's inode on that device.
    pub ino: u64,
    /// The file's owner, not that of the content.
    pub uid: u32,
    /// The file's group.
    pub gid: u32,
    /// The file's permission bits (the low twelve).
    pub mode: u32,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Space taken on disk, in bytes; a sparse file takes less than its length.
    pub allocated_bytes: u64,
    /// Where the content lies: behind the launch line of some old images, else the whole file.
    pub content: Window,
}

impl Image {
    /// Where the ext file system lies: the image itself, or the writable overlay of a SIF.
    ///
    /// This is also exactly the range that Apptainer locks.
    #[must_use]
    pub fn ext_window(&self) -> Option<Window> {
        match &self.kind {
            Kind::Ext(_) => Some(self.content),
            Kind::Sif(sif) => sif.writable_overlay().map(|partition| partition.window),
            Kind::Squashfs | Kind::Directory => None,
        }
    }

    /// Whether `path` still leads to the same file.
    #[must_use]
    pub fn is_still_at(&self, path: &Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(path).is_ok_and(|now| now.dev() == self.dev && now.ino() == self.ino)
    }
}
