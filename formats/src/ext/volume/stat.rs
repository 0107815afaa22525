//! What an inode says, as stat(2) would show it.

use crate::ext::inode::{InodeRecord, flag};
use crate::ext::superblock::Superblock;
use crate::file::{FileType, Ids};

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Time {
    /// Since 1970.
    pub seconds: i64,
    /// To be added; always less than a second.
    pub nanoseconds: u32,
}

/// What an inode says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: FileType,
    /// Permission bits (the low twelve).
    pub mode: u16,
    /// Owner and group.
    pub ids: Ids,
    /// Number of names; 1 of a directory with more than 64,998 directories in it.
    pub links: u16,
    /// In bytes.
    pub size: u64,
    /// What it takes of the disk, in units of 512 bytes.
    pub sectors: u64,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// When it was last read.
    pub accessed: Time,
    /// When its content was last changed.
    pub modified: Time,
    /// When anything of it was last changed.
    pub changed: Time,
}

impl Stat {
    /// What this record says.
    #[must_use]
    pub fn of(record: &InodeRecord, sb: &Superblock) -> Self {
        let (inode, kind, size) = (&record.inode, record.inode.file_type(), record.inode.size());
        // The kernel counts what lies in the inode, but of files only.
        let inline = inode.has(flag::INLINE_DATA) && kind == FileType::Regular;
        Self {
            kind,
            mode: inode.permissions(),
            ids: inode.ids(),
            links: inode.i_links_count.get(),
            size,
            sectors: inode.sectors(sb).saturating_add(if inline { size.div_ceil(512) } else { 0 }),
            device: inode.device(),
            accessed: time(record.atime()),
            modified: time(record.mtime()),
            changed: time(record.ctime()),
        }
    }
}

fn time((seconds, nanoseconds): (i64, u32)) -> Time {
    Time { seconds, nanoseconds: nanoseconds.min(999_999_999) }
}
