//! The superblock: geometry, checked against itself and against the size of the file before anyone relies on it.

use super::error::ExtError;
use super::features::{Features, compat, incompat, ro_compat};
use crate::bytes::{array_at, put_u16, put_u32, text, u16_at, u32_at};
use crate::ext::probe::stamp::Stamp;

/// Where the superblock begins, in bytes.
pub(crate) const SUPERBLOCK_OFFSET: u64 = 1024;
/// Where the compatible features stand, in bytes from the start of the file system.
pub const COMPAT_AT: u64 = SUPERBLOCK_OFFSET + 0x5C;
/// How long it is, in bytes.
pub(crate) const SUPERBLOCK_SIZE: usize = 1024;
const MAGIC: u16 = 0xEF53;
const MAGIC_AT: usize = 0x38;
const STATE_AT: usize = 0x3A;
/// Bit of `s_state`: unmounted properly.
pub(crate) const VALID: u16 = 0x1;
/// The inode of the root directory, by definition.
pub const ROOT_INO: u32 = 2;
/// No mke2fs makes smaller groups; with these, even the emptiest of sparse files has few enough of them to visit.
const FEWEST_BLOCKS_PER_GROUP: u32 = 256;
const FIRST_INO_REV0: u32 = 11;
const MAX_LOG_BLOCK_SIZE: u32 = 6;

/// Whether `bytes`, which begin at the start of the file system, hold the ext magic.
pub fn has_magic(bytes: &[u8]) -> bool {
    u16_at(bytes, SUPERBLOCK_OFFSET as usize + MAGIC_AT) == Some(MAGIC)
}

/// Writes into a raw superblock whether the file system was left in order; false when it is too short.
#[must_use]
pub fn put_valid(bytes: &mut [u8], valid: bool) -> bool {
    let Some(state) = u16_at(bytes, STATE_AT) else { return false };
    put_u16(bytes, STATE_AT, if valid { state | VALID } else { state & !VALID })
}

/// Writes the number of free inodes into a raw superblock; false when it is too short.
#[must_use]
pub fn put_free_inodes(bytes: &mut [u8], count: u32) -> bool {
    put_u32(bytes, 0x10, count)
}

/// What the rest of the engine needs from the superblock; fields under their on-disk names, `_hi` halves joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    pub inodes_count: u32,
    pub blocks_count: u64,
    pub r_blocks_count: u64,
    pub free_blocks_count: u64,
    pub free_inodes_count: u32,
    pub first_data_block: u32,
    pub block_size: u32,
    /// What is allocated at once, in bytes; more than a block only with the feature `bigalloc`.
    pub(crate) cluster_size: u32,
    pub blocks_per_group: u32,
    pub inodes_per_group: u32,
    pub(crate) state: u16,
    pub first_ino: u32,
    pub inode_size: u16,
    pub features: Features,
    pub(crate) uuid: [u8; 16],
    pub(crate) volume_name: String,
    pub reserved_gdt_blocks: u16,
    pub journal_inum: u32,
    pub(crate) last_orphan: u32,
    pub(crate) hash_seed: [u32; 4],
    pub desc_size: u16,
    pub(crate) first_meta_bg: u32,
    pub(crate) error_count: u32,
    pub(crate) backup_bgs: [u32; 2],
    pub checksum_seed: u32,
    pub orphan_file_inum: u32,
    pub(crate) stamp: Stamp,
}

impl Superblock {
    /// Parses the 1024 bytes at offset 1024 of a file system that has `available` bytes.
    pub fn from_bytes(bytes: &[u8], available: u64) -> Result<Self, ExtError> {
        if u16_at(bytes, MAGIC_AT) != Some(MAGIC) {
            return Err(ExtError::NotExt);
        }
        let sb = Self::fields(bytes).ok_or_else(|| ExtError::corrupt("the superblock is too short"))?;
        sb.features.check_readable()?;
        sb.check_geometry()?;
        sb.check_size(available)?;
        Ok(sb)
    }

    fn fields(b: &[u8]) -> Option<Self> {
        let features = Features { compat: u32_at(b, 0x5C)?, incompat: u32_at(b, 0x60)?, ro_compat: u32_at(b, 0x64)? };
        let revision = u32_at(b, 0x4C)?;
        let high = |at| if features.has_incompat(incompat::BIT64) { u32_at(b, at) } else { Some(0) };
        let uuid = array_at(b, 0x68)?;
        Some(Self {
            inodes_count: u32_at(b, 0x0)?,
            blocks_count: join(u32_at(b, 0x4)?, high(0x150)?),
            r_blocks_count: join(u32_at(b, 0x8)?, high(0x154)?),
            free_blocks_count: join(u32_at(b, 0xC)?, high(0x158)?),
            free_inodes_count: u32_at(b, 0x10)?,
            first_data_block: u32_at(b, 0x14)?,
            // An absurd exponent becomes 0, which the geometry check names.
            block_size: kibibytes(u32_at(b, 0x18)?),
            cluster_size: kibibytes(u32_at(b, if features.has_ro_compat(ro_compat::BIGALLOC) { 0x1C } else { 0x18 })?),
            blocks_per_group: u32_at(b, 0x20)?,
            inodes_per_group: u32_at(b, 0x28)?,
            state: u16_at(b, STATE_AT)?,
            first_ino: if revision == 0 { FIRST_INO_REV0 } else { u32_at(b, 0x54)? },
            inode_size: if revision == 0 { 128 } else { u16_at(b, 0x58)? },
            features,
            uuid,
            volume_name: text(b.get(0x78..0x88)?),
            reserved_gdt_blocks: u16_at(b, 0xCE)?,
            journal_inum: u32_at(b, 0xE0)?,
            last_orphan: u32_at(b, 0xE8)?,
            hash_seed: [u32_at(b, 0xEC)?, u32_at(b, 0xF0)?, u32_at(b, 0xF4)?, u32_at(b, 0xF8)?],
            desc_size: if features.has_incompat(incompat::BIT64) { u16_at(b, 0xFE)? } else { 32 },
            first_meta_bg: u32_at(b, 0x104)?,
            error_count: u32_at(b, 0x194)?,
            backup_bgs: [u32_at(b, 0x24C)?, u32_at(b, 0x250)?],
            checksum_seed: Self::seed(b, features, uuid)?,
            orphan_file_inum: u32_at(b, 0x280)?,
            stamp: Stamp::from_bytes(b)?,
        })
    }

    fn seed(b: &[u8], features: Features, uuid: [u8; 16]) -> Option<u32> {
        if features.has_incompat(incompat::CSUM_SEED) {
            return u32_at(b, 0x270);
        }
        Some(super::checksum::crc32c(!0, &uuid))
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
    pub fn kept_back(&self, blocks: u64) -> u64 {
        if self.r_blocks_count == 0 {
            return blocks / 10;
        }
        let kept = u128::from(self.r_blocks_count) * u128::from(blocks) / u128::from(self.blocks_count.max(1));
        u64::try_from(kept).unwrap_or(u64::MAX)
    }

    pub(crate) fn is_bigalloc(&self) -> bool {
        self.features.has_ro_compat(ro_compat::BIGALLOC)
    }

    pub fn has_metadata_csum(&self) -> bool {
        self.features.has_ro_compat(ro_compat::METADATA_CSUM)
    }

    /// Whether group descriptors are checksummed, and so may say that parts of an inode table were never used.
    pub fn has_group_checksums(&self) -> bool {
        self.has_metadata_csum() || self.features.has_ro_compat(ro_compat::GDT_CSUM)
    }

    pub fn group_count(&self) -> u64 {
        let blocks = self.blocks_count.saturating_sub(u64::from(self.first_data_block));
        blocks.div_ceil(u64::from(self.blocks_per_group).max(1))
    }

    /// Where a block begins, in bytes, or an error when the file system has no such block.
    pub fn block_offset(&self, block: u64, what: &str) -> Result<u64, ExtError> {
        if block == 0 || block >= self.blocks_count {
            return Err(ExtError::corrupt(format!("{what} points to block {block}, which does not exist")));
        }
        Ok(block * u64::from(self.block_size))
    }

    /// Whether a group begins with a copy of the superblock.
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

fn kibibytes(exponent: u32) -> u32 {
    1024_u32.checked_shl(exponent.min(32)).unwrap_or(0)
}

fn join(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
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
        bytes[MAGIC_AT..MAGIC_AT + 2].copy_from_slice(&MAGIC.to_le_bytes());
        assert!(matches!(Superblock::from_bytes(&bytes, 1 << 30), Err(ExtError::Corrupt(_))));
        assert!(matches!(Superblock::from_bytes(&bytes[..100], 1 << 30), Err(ExtError::Corrupt(_))));
    }
}
