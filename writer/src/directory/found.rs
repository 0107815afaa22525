//! Where a name was found, and what it stands for.

use condatainer_formats::ext::raw::FileType;

use super::record::Record;

/// Where a name stands. It is right until the directory is changed: names move when another one comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The block on the disk.
    pub(super) block: u64,
    /// Within it, in bytes.
    pub(super) at: usize,
    /// What it stands for.
    pub(super) ino: u32,
}

/// A name that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// The inode that it stands for; one that exists, not necessarily one that is in use.
    pub(crate) ino: u32,
    /// What the entry says of its kind; `None` where it says nothing.
    pub(crate) kind: Option<FileType>,
    /// Where it stands.
    pub(crate) place: Place,
}

impl Found {
    pub(super) fn of(block: u64, record: Record) -> Self {
        let Record { at, ino, .. } = record;
        Self { ino, kind: record.kind(), place: Place { block, at, ino } }
    }
}
