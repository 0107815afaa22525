//! Geometry, checked against itself and against the size of the file before anyone relies on it.

use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

use super::disk::RawSuperblock;
use super::features::{Features, compat, incompat, ro_compat};
use super::stamp::Stamp;
use crate::bytes::text;
use crate::ext::checksum::crc32c;
use crate::ext::error::ExtError;

/// No mke2fs makes smaller groups; with these, even the emptiest of sparse files has few enough of them to visit.
const FEWEST_BLOCKS_PER_GROUP: u32 = 256;
const FIRST_INO_REV0: u32 = 11;
const INODE_SIZE_REV0: u16 = 128;
const NARROW_DESCRIPTOR: u16 = 32;
const MAX_LOG_BLOCK_SIZE: u32 = 6;

/// What the rest of the engine needs from the superblock; fields under their on-disk names, `_hi` halves joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// How many inodes there are, used or not.
    pub inodes_count: u32,
    /// How long the file system is, in blocks.
    pub blocks_count: u64,
    /// Blocks that are reserved for root.
    pub r_blocks_count: u64,
    /// Free blocks.
    pub free_blocks_count: u64,
    /// Free inodes.
    pub free_inodes_count: u32,
    /// The block of the superblock: 1 where blocks have 1 KiB, else 0.
    pub first_data_block: u32,
    /// In bytes.
    pub block_size: u32,
    /// What is allocated at once, in bytes; more than a block only with the feature `bigalloc`.
    pub(crate) cluster_size: u32,
    /// Blocks in each group but the last.
    pub blocks_per_group: u32,
    /// Inodes in each group.
    pub inodes_per_group: u32,
    pub(crate) state: u16,
    /// The first inode that is not reserved.
    pub first_ino: u32,
    /// Length of a record of the inode table, in bytes.
    pub inode_size: u16,
    /// The feature words.
    pub features: Features,
    pub(crate) uuid: [u8; 16],
    pub(crate) volume_name: String,
    /// Blocks in each copy of the descriptors that are kept for growing.
    pub reserved_gdt_blocks: u16,
    /// The journal's inode, 0 for none.
    pub journal_inum: u32,
    pub(crate) last_orphan: u32,
    /// What hashes of names begin with; all zeros stands for a default.
    pub hash_seed: [u32; 4],
    /// The hash of directories that get an index.
    pub def_hash_version: u8,
    /// Among others, whether hashes of names take bytes as signed.
    pub flags: u32,
    /// Length of a group descriptor, in bytes.
    pub desc_size: u16,
    pub(crate) first_meta_bg: u32,
    pub(crate) error_count: u32,
    pub(crate) backup_bgs: [u32; 2],
    /// What checksums of metadata begin with.
    pub checksum_seed: u32,
    /// The inode of the file that lists orphans, 0 for none.
    pub orphan_file_inum: u32,
    pub(crate) stamp: Stamp,
}

impl Superblock {
    /// Parses the 1024 bytes at offset 1024 of a file system that has `available` bytes.
    ///
    /// # Errors
    /// `NotExt` without the magic, `Truncated` where `available` is not enough; else what is impossible or not understood.
    pub fn from_bytes(bytes: &[u8], available: u64) -> Result<Self, ExtError> {
        if !RawSuperblock::is_one(bytes) {
            return Err(ExtError::NotExt);
        }
        let raw = RawSuperblock::ref_from_prefix(bytes);
        let (raw, _) = raw.map_err(|_| ExtError::corrupt("the superblock is too short"))?;
        let sb = Self::of(raw);
        sb.features.check_readable()?;
        sb.check_geometry()?;
        sb.check_size(available)?;
        Ok(sb)
    }

    fn of(raw: &RawSuperblock) -> Self {
        let features = raw.features();
        let wide = features.has_incompat(incompat::BIT64);
        let join = |low: U32, high: U32| u64::from(low) | if wide { u64::from(high) << 32 } else { 0 };
        let bigalloc = features.has_ro_compat(ro_compat::BIGALLOC);
        let seeded = features.has_incompat(incompat::CSUM_SEED);
        let first_revision = raw.s_rev_level == 0;
        Self {
            inodes_count: raw.s_inodes_count.get(),
            blocks_count: join(raw.s_blocks_count_lo, raw.s_blocks_count_hi),
            r_blocks_count: join(raw.s_r_blocks_count_lo, raw.s_r_blocks_count_hi),
            free_blocks_count: join(raw.s_free_blocks_count_lo, raw.s_free_blocks_count_hi),
            free_inodes_count: raw.s_free_inodes_count.get(),
            first_data_block: raw.s_first_data_block.get(),
            // An absurd exponent becomes 0, which the geometry check names.
            block_size: kibibytes(raw.s_log_block_size),
            cluster_size: kibibytes(if bigalloc { raw.s_log_cluster_size } else { raw.s_log_block_size }),
            blocks_per_group: raw.s_blocks_per_group.get(),
            inodes_per_group: raw.s_inodes_per_group.get(),
            state: raw.s_state.get(),
            first_ino: if first_revision { FIRST_INO_REV0 } else { raw.s_first_ino.get() },
            inode_size: if first_revision { INODE_SIZE_REV0 } else { raw.s_inode_size.get() },
            features,
            uuid: raw.s_uuid,
            volume_name: text(&raw.s_volume_name),
            reserved_gdt_blocks: raw.s_reserved_gdt_blocks.get(),
            journal_inum: raw.s_journal_inum.get(),
            last_orphan: raw.s_last_orphan.get(),
            hash_seed: raw.s_hash_seed.map(U32::get),
            def_hash_version: raw.s_def_hash_version,
            flags: raw.s_flags.get(),
            desc_size: if wide { raw.s_desc_size.get() } else { NARROW_DESCRIPTOR },
            first_meta_bg: raw.s_first_meta_bg.get(),
            error_count: raw.s_error_count.get(),
            backup_bgs: raw.s_backup_bgs.map(U32::get),
            checksum_seed: if seeded { raw.s_checksum_seed.get() } else { crc32c(!0, &raw.s_uuid) },
            orphan_file_inum: raw.s_orphan_file_inum.get(),
            stamp: Stamp::of(raw),
        }
    }

    fn check_geometry(&self) -> Result<(), ExtError> {
        self.check_block_size()?;
        self.check_groups()?;
        self.check_inodes()
    }

    fn check_block_size(&self) -> Result<(), ExtError> {
        let largest = 1024 << MAX_LOG_BLOCK_SIZE;
        ensure((1024..=largest).contains(&self.block_size), "the superblock's block size is impossible")?;
        let first = u32::from(self.block_size == 1024 && !self.is_bigalloc());
        ensure(self.first_data_block == first, "the superblock's first data block is impossible")
    }

    fn check_groups(&self) -> Result<(), ExtError> {
        ensure(self.blocks_count > u64::from(self.first_data_block), "the superblock counts no blocks")?;
        let most = if self.is_bigalloc() { u32::MAX } else { self.block_size * 8 };
        ensure(
            (FEWEST_BLOCKS_PER_GROUP..=most).contains(&self.blocks_per_group),
            "the superblock's blocks per group are impossible",
        )?;
        let widths = if self.features.has_incompat(incompat::BIT64) { 64..=1024 } else { 32..=32 };
        let sound = widths.contains(&self.desc_size) && self.desc_size.is_power_of_two();
        ensure(sound, "the superblock's group descriptor size is impossible")
    }

    fn check_inodes(&self) -> Result<(), ExtError> {
        let size = u32::from(self.inode_size);
        let sound = size.is_power_of_two() && (128..=self.block_size).contains(&size);
        ensure(sound, "the superblock's inode size is impossible")?;
        ensure(
            (1..=self.block_size * 8).contains(&self.inodes_per_group),
            "the superblock's inodes per group are impossible",
        )?;
        let expected = self.group_count().checked_mul(u64::from(self.inodes_per_group));
        ensure(
            expected == Some(u64::from(self.inodes_count)),
            "the superblock's inode count does not match its groups",
        )?;
        let tables = u64::from(self.inodes_count) * u64::from(size);
        let room = self.blocks_count.saturating_mul(u64::from(self.block_size));
        ensure(tables <= room, "the superblock counts more inodes than the file system has room for")?;
        ensure((11..=self.inodes_count).contains(&self.first_ino), "the superblock's first inode is impossible")
    }

    fn check_size(&self, present: u64) -> Result<(), ExtError> {
        let needed = self.blocks_count.checked_mul(u64::from(self.block_size));
        let needed = needed.ok_or_else(|| ExtError::corrupt("the superblock's block count is impossible"))?;
        if needed > present {
            return Err(ExtError::Truncated { needed, present });
        }
        Ok(())
    }

    /// Blocks that fuse2fs gives to nobody, not even to root, if the file system has so many: what is reserved, and where nothing is,
    /// a tenth. libext2fs may do damage in a file system that is full to the last block.
    #[must_use]
    pub fn reserved_by_fuse2fs(&self, blocks: u64) -> u64 {
        if self.r_blocks_count == 0 {
            return blocks / 10;
        }
        let kept = u128::from(self.r_blocks_count) * u128::from(blocks) / u128::from(self.blocks_count.max(1));
        u64::try_from(kept).unwrap_or(u64::MAX)
    }

    pub(crate) fn is_bigalloc(&self) -> bool {
        self.features.has_ro_compat(ro_compat::BIGALLOC)
    }

    /// Whether inodes, descriptors and directories carry checksums.
    #[must_use]
    pub fn has_metadata_csum(&self) -> bool {
        self.features.has_ro_compat(ro_compat::METADATA_CSUM)
    }

    /// Whether group descriptors are checksummed, and so may say that parts of an inode table were never used.
    #[must_use]
    pub fn has_group_checksums(&self) -> bool {
        self.has_metadata_csum() || self.features.has_ro_compat(ro_compat::GDT_CSUM)
    }

    /// How many block groups there are.
    #[must_use]
    pub fn group_count(&self) -> u64 {
        let blocks = self.blocks_count.saturating_sub(u64::from(self.first_data_block));
        blocks.div_ceil(u64::from(self.blocks_per_group).max(1))
    }

    /// Where a block begins, in bytes, or an error when the file system has no such block. `what` points to it.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn block_offset(&self, block: u64, what: &str) -> Result<u64, ExtError> {
        if block == 0 || block >= self.blocks_count {
            return Err(ExtError::corrupt(format!("{what} points to block {block}, which does not exist")));
        }
        Ok(block * u64::from(self.block_size))
    }

    /// Whether a group begins with a copy of the superblock.
    #[must_use]
    pub fn group_has_super(&self, group: u64) -> bool {
        if group == 0 {
            return true;
        }
        if self.features.has_compat(compat::SPARSE_SUPER2) {
            return self.backup_bgs.iter().any(|&g| u64::from(g) == group);
        }
        let sparse = self.features.has_ro_compat(ro_compat::SPARSE_SUPER);
        group == 1 || !sparse || [3, 5, 7].iter().any(|&base| is_power_of(group, base))
    }
}

fn ensure(sound: bool, what: &str) -> Result<(), ExtError> {
    if sound { Ok(()) } else { Err(ExtError::corrupt(what)) }
}

fn kibibytes(exponent: U32) -> u32 {
    1024_u32.checked_shl(exponent.get().min(32)).unwrap_or(0)
}

fn is_power_of(number: u64, base: u64) -> bool {
    let mut power = base;
    while power < number {
        power = power.saturating_mul(base);
    }
    power == number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backups_lie_in_powers_of_three_five_and_seven() {
        let with: Vec<u64> = (1..130).filter(|&g| [3, 5, 7].iter().any(|&b| is_power_of(g, b))).collect();
        assert_eq!(with, [3, 5, 7, 9, 25, 27, 49, 81, 125]);
    }

    #[test]
    fn other_bytes_are_not_ext() {
        assert!(matches!(Superblock::from_bytes(&[0; 1024], 1 << 30), Err(ExtError::NotExt)));
        assert!(matches!(Superblock::from_bytes(&[], 1 << 30), Err(ExtError::NotExt)));
    }

    #[test]
    fn a_magic_alone_is_damage() {
        let mut bytes = [0; 1024];
        bytes[0x38..0x3A].copy_from_slice(&0xEF53_u16.to_le_bytes());
        assert!(matches!(Superblock::from_bytes(&bytes, 1 << 30), Err(ExtError::Corrupt(_))));
        assert!(matches!(Superblock::from_bytes(&bytes[..100], 1 << 30), Err(ExtError::Corrupt(_))));
    }
}
