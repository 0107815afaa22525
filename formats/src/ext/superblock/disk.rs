//! The kernel's `ext4_super_block`.

use std::mem::offset_of;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::features::{Features, incompat, ro_compat};
use crate::bytes::u16_at;
use crate::ext::checksum::crc32c;

/// Where the superblock begins, in bytes from the start of the file system.
pub const SUPERBLOCK_OFFSET: u64 = 1024;
/// How long it is, in bytes.
pub(crate) const SUPERBLOCK_SIZE: usize = size_of::<RawSuperblock>();
/// Where the compatible features stand, in bytes from the start of the file system.
pub const COMPAT_AT: u64 = SUPERBLOCK_OFFSET + offset_of!(RawSuperblock, s_feature_compat) as u64;
/// Bit of `s_state`: unmounted properly.
pub(crate) const VALID: u16 = 0x1;
/// Bit of `s_state`: damage was seen.
pub(crate) const ERRORS: u16 = 0x2;
/// The inode of the root directory, by definition.
pub const ROOT_INO: u32 = 2;
const MAGIC: u16 = 0xEF53;

/// The bytes of a superblock, under the kernel's names.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct RawSuperblock {
    pub s_inodes_count: U32,
    pub s_blocks_count_lo: U32,
    pub s_r_blocks_count_lo: U32,
    pub s_free_blocks_count_lo: U32,
    pub s_free_inodes_count: U32,
    pub s_first_data_block: U32,
    pub s_log_block_size: U32,
    pub s_log_cluster_size: U32,
    pub s_blocks_per_group: U32,
    pub s_clusters_per_group: U32,
    pub s_inodes_per_group: U32,
    pub s_mtime: U32,
    pub s_wtime: U32,
    pub s_mnt_count: U16,
    pub s_max_mnt_count: U16,
    pub s_magic: U16,
    pub s_state: U16,
    pub s_errors: U16,
    pub s_minor_rev_level: U16,
    pub s_lastcheck: U32,
    pub s_checkinterval: U32,
    pub s_creator_os: U32,
    pub s_rev_level: U32,
    pub s_def_resuid: U16,
    pub s_def_resgid: U16,
    pub s_first_ino: U32,
    pub s_inode_size: U16,
    pub s_block_group_nr: U16,
    pub s_feature_compat: U32,
    pub s_feature_incompat: U32,
    pub s_feature_ro_compat: U32,
    pub s_uuid: [u8; 16],
    pub s_volume_name: [u8; 16],
    pub s_last_mounted: [u8; 64],
    pub s_algorithm_usage_bitmap: U32,
    pub s_prealloc_blocks: u8,
    pub s_prealloc_dir_blocks: u8,
    pub s_reserved_gdt_blocks: U16,
    pub s_journal_uuid: [u8; 16],
    pub s_journal_inum: U32,
    pub s_journal_dev: U32,
    pub s_last_orphan: U32,
    pub s_hash_seed: [U32; 4],
    pub s_def_hash_version: u8,
    pub s_jnl_backup_type: u8,
    pub s_desc_size: U16,
    pub s_default_mount_opts: U32,
    pub s_first_meta_bg: U32,
    pub s_mkfs_time: U32,
    pub s_jnl_blocks: [U32; 17],
    pub s_blocks_count_hi: U32,
    pub s_r_blocks_count_hi: U32,
    pub s_free_blocks_count_hi: U32,
    pub s_min_extra_isize: U16,
    pub s_want_extra_isize: U16,
    pub s_flags: U32,
    pub s_raid_stride: U16,
    pub s_mmp_update_interval: U16,
    pub s_mmp_block: U64,
    pub s_raid_stripe_width: U32,
    pub s_log_groups_per_flex: u8,
    pub s_checksum_type: u8,
    pub s_encryption_level: u8,
    pub s_reserved_pad: u8,
    pub s_kbytes_written: U64,
    pub s_snapshot_inum: U32,
    pub s_snapshot_id: U32,
    pub s_snapshot_r_blocks_count: U64,
    pub s_snapshot_list: U32,
    pub s_error_count: U32,
    pub s_first_error_time: U32,
    pub s_first_error_ino: U32,
    pub s_first_error_block: U64,
    pub s_first_error_func: [u8; 32],
    pub s_first_error_line: U32,
    pub s_last_error_time: U32,
    pub s_last_error_ino: U32,
    pub s_last_error_line: U32,
    pub s_last_error_block: U64,
    pub s_last_error_func: [u8; 32],
    pub s_mount_opts: [u8; 64],
    pub s_usr_quota_inum: U32,
    pub s_grp_quota_inum: U32,
    pub s_overhead_clusters: U32,
    pub s_backup_bgs: [U32; 2],
    pub s_encrypt_algos: [u8; 4],
    pub s_encrypt_pw_salt: [u8; 16],
    pub s_lpf_ino: U32,
    pub s_prj_quota_inum: U32,
    pub s_checksum_seed: U32,
    pub s_wtime_hi: u8,
    pub s_mtime_hi: u8,
    pub s_mkfs_time_hi: u8,
    pub s_lastcheck_hi: u8,
    pub s_first_error_time_hi: u8,
    pub s_last_error_time_hi: u8,
    pub s_first_error_errcode: u8,
    pub s_last_error_errcode: u8,
    pub s_encoding: U16,
    pub s_encoding_flags: U16,
    pub s_orphan_file_inum: U32,
    pub s_reserved: [U32; 94],
    pub s_checksum: U32,
}

const _: () = assert!(SUPERBLOCK_SIZE == 1024);

/// Whether `bytes`, which begin at the start of the file system, hold the ext magic.
#[must_use]
pub(crate) fn has_magic(bytes: &[u8]) -> bool {
    let at = SUPERBLOCK_OFFSET as usize;
    bytes.get(at..).is_some_and(RawSuperblock::is_one)
}

impl RawSuperblock {
    /// Whether `bytes`, which need not be a whole superblock, have the magic of one.
    #[must_use]
    pub(super) fn is_one(bytes: &[u8]) -> bool {
        u16_at(bytes, offset_of!(Self, s_magic)) == Some(MAGIC)
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }

    /// Its three feature words.
    pub(super) fn features(&self) -> Features {
        let (compat, incompat) = (self.s_feature_compat.get(), self.s_feature_incompat.get());
        Features { compat, incompat, ro_compat: self.s_feature_ro_compat.get() }
    }

    /// Says whether the file system was left in order.
    pub fn set_valid(&mut self, valid: bool) {
        let state = self.s_state.get();
        self.s_state.set(if valid { state | VALID } else { state & !VALID });
    }

    /// Says that damage was seen: it is to be checked before it is used again.
    pub fn set_errors(&mut self) {
        self.s_state.set(self.s_state.get() | ERRORS);
    }

    /// Whether its journal must be replayed before anybody looks at the file system.
    #[must_use]
    pub fn needs_recovery(&self) -> bool {
        self.s_feature_incompat.get() & incompat::RECOVER != 0
    }

    /// Says whether its journal must be replayed.
    pub fn set_needs_recovery(&mut self, needs: bool) {
        let incompat = self.s_feature_incompat.get();
        self.s_feature_incompat.set(if needs { incompat | incompat::RECOVER } else { incompat & !incompat::RECOVER });
    }

    /// Makes its own checksum right, where it has one.
    pub fn set_checksum(&mut self) {
        if self.s_feature_ro_compat.get() & ro_compat::METADATA_CSUM != 0 {
            let body = self.as_bytes().get(..offset_of!(Self, s_checksum)).unwrap_or_default();
            self.s_checksum.set(crc32c(!0, body));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_lie_where_the_kernel_has_them() {
        assert_eq!(offset_of!(RawSuperblock, s_magic), 0x38);
        assert_eq!(offset_of!(RawSuperblock, s_feature_compat), 0x5C);
        assert_eq!(offset_of!(RawSuperblock, s_reserved_gdt_blocks), 0xCE);
        assert_eq!(offset_of!(RawSuperblock, s_hash_seed), 0xEC);
        assert_eq!(offset_of!(RawSuperblock, s_desc_size), 0xFE);
        assert_eq!(offset_of!(RawSuperblock, s_blocks_count_hi), 0x150);
        assert_eq!(offset_of!(RawSuperblock, s_error_count), 0x194);
        assert_eq!(offset_of!(RawSuperblock, s_backup_bgs), 0x24C);
        assert_eq!(offset_of!(RawSuperblock, s_checksum_seed), 0x270);
        assert_eq!(offset_of!(RawSuperblock, s_orphan_file_inum), 0x280);
    }
}
