//! A stamp of a file system: the fields of its superblock that every mount changes, and everybody who writes to it.
//!
//! As long as it is the same, what was found in the file system is still so. It is no defence against somebody who writes to the raw
//! bytes.

use serde::{Deserialize, Serialize};
use zerocopy::little_endian::U64;
use zerocopy::transmute;

use super::disk::{RawSuperblock, VALID};

/// See the module. Fields under their on-disk names, without `s_`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Stamp {
    state: u16,
    free_blocks_count: u32,
    free_inodes_count: u32,
    mtime: u32,
    wtime: u32,
    mnt_count: u16,
    lastcheck: u32,
    uuid: (u64, u64),
}

impl Stamp {
    pub(super) fn of(raw: &RawSuperblock) -> Self {
        let [uuid, rest]: [U64; 2] = transmute!(raw.s_uuid);
        Self {
            state: raw.s_state.get(),
            free_blocks_count: raw.s_free_blocks_count_lo.get(),
            free_inodes_count: raw.s_free_inodes_count.get(),
            mtime: raw.s_mtime.get(),
            wtime: raw.s_wtime.get(),
            mnt_count: raw.s_mnt_count.get(),
            lastcheck: raw.s_lastcheck.get(),
            uuid: (uuid.get(), rest.get()),
        }
    }

    /// Whether exactly one mount lies between `before` and this, which has not ended, and nothing was written meanwhile.
    ///
    /// fuse2fs counts its mount and notes the time of it in the superblock, even where it mounts for reading only, and takes the
    /// mark of a clean file system away until it ends. One that has ended again may have been a writer: what it took and what it
    /// gave back can be equal.
    #[must_use]
    pub fn is_one_mount_after(&self, before: &Self) -> bool {
        let (mtime, wtime, mnt_count) = (self.mtime, self.wtime, before.mnt_count.wrapping_add(1));
        let state = before.state & !VALID;
        *self == Self { state, mtime, wtime, mnt_count, ..*before }
    }

    /// Whether the two can be those of one file system that was mounted and unmounted in between, and not written to.
    #[must_use]
    pub fn differs_only_by_mounts(&self, other: &Self) -> bool {
        let Self { state, mtime, wtime, mnt_count, .. } = *self;
        *self == Self { state, mtime, wtime, mnt_count, ..*other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mount_and_nothing_else() {
        let before = Stamp::of(&transmute!([0xFF_u8; 1024]));
        let mounted = Stamp { state: 0xFFFE, mtime: 7, wtime: 8, mnt_count: 0, ..before };
        assert!(mounted.is_one_mount_after(&before));
        assert!(!before.is_one_mount_after(&before));
        assert!(
            !Stamp { state: 0xFFFF, ..mounted }.is_one_mount_after(&before),
            "it has ended, and may have been a writer"
        );
        assert!(!Stamp { mnt_count: 1, ..mounted }.is_one_mount_after(&before));
        assert!(Stamp { mnt_count: 1, ..mounted }.differs_only_by_mounts(&before));
        assert!(!Stamp { lastcheck: 1, ..mounted }.differs_only_by_mounts(&before));
        assert!(!Stamp { free_inodes_count: 1, ..mounted }.is_one_mount_after(&before));
    }
}
