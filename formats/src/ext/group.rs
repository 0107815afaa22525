//! Group descriptors: where the bitmaps and the inode table of a block group lie, and how many of its blocks and inodes are free.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::error::ExtError;
use super::superblock::Superblock;
use super::superblock::features::incompat;

/// The kernel's `ext4_group_desc`, under its names. In a descriptor of 32 bytes everything from `bg_block_bitmap_hi` on is 0 here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct GroupDescriptor {
    pub bg_block_bitmap_lo: U32,
    pub bg_inode_bitmap_lo: U32,
    pub bg_inode_table_lo: U32,
    pub bg_free_blocks_count_lo: U16,
    pub bg_free_inodes_count_lo: U16,
    pub bg_used_dirs_count_lo: U16,
    pub bg_flags: U16,
    pub bg_exclude_bitmap_lo: U32,
    pub bg_block_bitmap_csum_lo: U16,
    pub bg_inode_bitmap_csum_lo: U16,
    pub bg_itable_unused_lo: U16,
    pub bg_checksum: U16,
    pub bg_block_bitmap_hi: U32,
    pub bg_inode_bitmap_hi: U32,
    pub bg_inode_table_hi: U32,
    pub bg_free_blocks_count_hi: U16,
    pub bg_free_inodes_count_hi: U16,
    pub bg_used_dirs_count_hi: U16,
    pub bg_itable_unused_hi: U16,
    pub bg_exclude_bitmap_hi: U32,
    pub bg_block_bitmap_csum_hi: U16,
    pub bg_inode_bitmap_csum_hi: U16,
    pub bg_reserved: U32,
}

const _: () = assert!(size_of::<GroupDescriptor>() == 64);

impl GroupDescriptor {
    /// Bit of `bg_flags`: no inode of the group was ever used.
    pub const INODE_UNINIT: u16 = 0x1;

    /// From the bytes of a descriptor, which may be shorter or longer than what is known of it.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut whole = [0; size_of::<Self>()];
        let length = bytes.len().min(whole.len());
        if let (Some(to), Some(from)) = (whole.get_mut(..length), bytes.get(..length)) {
            to.copy_from_slice(from);
        }
        zerocopy::transmute!(whole)
    }

    /// Its bytes, as many of them as a descriptor of this file system has.
    #[must_use]
    pub fn bytes(&self, sb: &Superblock) -> &[u8] {
        let bytes = self.as_bytes();
        bytes.get(..usize::from(sb.desc_size)).unwrap_or(bytes)
    }

    /// The block with the bitmap of the group's blocks.
    #[must_use]
    pub fn block_bitmap(&self) -> u64 {
        join(self.bg_block_bitmap_lo, self.bg_block_bitmap_hi)
    }

    /// The block with the bitmap of the group's inodes.
    #[must_use]
    pub fn inode_bitmap(&self) -> u64 {
        join(self.bg_inode_bitmap_lo, self.bg_inode_bitmap_hi)
    }

    /// The first block of the inode table.
    #[must_use]
    pub fn inode_table(&self) -> u64 {
        join(self.bg_inode_table_lo, self.bg_inode_table_hi)
    }

    /// How many inodes at the end of the table were never used.
    #[must_use]
    pub(crate) fn itable_unused(&self) -> u32 {
        u32::from(self.bg_itable_unused_lo) | u32::from(self.bg_itable_unused_hi) << 16
    }

    /// How many blocks of the group are free.
    #[must_use]
    pub fn free_blocks(&self) -> u32 {
        u32::from(self.bg_free_blocks_count_lo) | u32::from(self.bg_free_blocks_count_hi) << 16
    }

    /// How many inodes of the group are free.
    #[must_use]
    pub fn free_inodes(&self) -> u32 {
        u32::from(self.bg_free_inodes_count_lo) | u32::from(self.bg_free_inodes_count_hi) << 16
    }

    /// How many inodes of the group are directories.
    #[must_use]
    pub fn used_dirs(&self) -> u32 {
        u32::from(self.bg_used_dirs_count_lo) | u32::from(self.bg_used_dirs_count_hi) << 16
    }

    /// Counts `more` directories, or fewer.
    pub fn add_used_dirs(&mut self, more: i64) {
        add(&mut self.bg_used_dirs_count_lo, &mut self.bg_used_dirs_count_hi, more);
    }

    /// Counts `more` free inodes, or fewer.
    pub fn add_free_inodes(&mut self, more: i64) {
        add(&mut self.bg_free_inodes_count_lo, &mut self.bg_free_inodes_count_hi, more);
    }

    /// Counts `more` free blocks, or fewer.
    pub fn add_free_blocks(&mut self, more: i64) {
        add(&mut self.bg_free_blocks_count_lo, &mut self.bg_free_blocks_count_hi, more);
    }

    /// The end of the descriptors behind the first superblock, in bytes.
    #[must_use]
    pub(crate) fn first_table_end(sb: &Superblock) -> u64 {
        let per_block = u64::from(sb.block_size / u32::from(sb.desc_size));
        let all = sb.group_count().div_ceil(per_block);
        let spread = sb.features.has_incompat(incompat::META_BG);
        let blocks = if spread { all.min(u64::from(sb.first_meta_bg)) } else { all };
        table_block(sb, blocks).saturating_mul(u64::from(sb.block_size))
    }

    /// Where the descriptor of `group` lies, in bytes; with meta_bg descriptors are spread over the disk.
    ///
    /// # Errors
    /// Outside of the file system.
    pub fn offset(sb: &Superblock, group: u64) -> Result<u64, ExtError> {
        let per_block = u64::from(sb.block_size / u32::from(sb.desc_size));
        let (metagroup, index) = (group / per_block, group % per_block);
        let spread = sb.features.has_incompat(incompat::META_BG) && metagroup >= u64::from(sb.first_meta_bg);
        let block = if spread { spread_block(sb, metagroup, per_block) } else { table_block(sb, metagroup) };
        Ok(sb.block_offset(block, "the group descriptor table")? + index * u64::from(sb.desc_size))
    }
}

/// Sets a bit of a bitmap; false when it was set already, or is not there.
#[must_use]
pub fn set_bit(bitmap: &mut [u8], bit: u32) -> bool {
    let mask = 1 << (bit % 8);
    let byte = bitmap.get_mut((bit / 8) as usize).filter(|byte| **byte & mask == 0);
    byte.map(|byte| *byte |= mask).is_some()
}

/// Clears a bit of a bitmap; false when it was clear already, or is not there.
#[must_use]
pub fn clear_bit(bitmap: &mut [u8], bit: u32) -> bool {
    let mask = 1 << (bit % 8);
    let byte = bitmap.get_mut((bit / 8) as usize).filter(|byte| **byte & mask != 0);
    byte.map(|byte| *byte &= !mask).is_some()
}

fn join(low: U32, high: U32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

/// Both halves of a count. The upper one of a narrow descriptor is not written.
fn add(low: &mut U16, high: &mut U16, more: i64) {
    let sum = (i64::from(low.get()) | i64::from(high.get()) << 16).saturating_add(more).max(0);
    low.set((sum & 0xFFFF) as u16);
    high.set((sum >> 16 & 0xFFFF) as u16);
}

/// The descriptor block `index` of the one table behind the superblock.
fn table_block(sb: &Superblock, index: u64) -> u64 {
    u64::from(sb.first_data_block) + boot_block(sb) + 1 + index
}

/// The descriptor block of a metagroup, in the first group of it.
fn spread_block(sb: &Superblock, metagroup: u64, groups: u64) -> u64 {
    let first = metagroup.saturating_mul(groups);
    let start = first.saturating_mul(u64::from(sb.blocks_per_group)).saturating_add(u64::from(sb.first_data_block));
    let boot = if metagroup == 0 { boot_block(sb) } else { 0 };
    start.saturating_add(u64::from(sb.group_has_super(first)) + boot)
}

/// With clusters of 1 KiB blocks, block 0 is the boot block although it is counted.
fn boot_block(sb: &Superblock) -> u64 {
    u64::from(sb.block_size == 1024 && sb.first_data_block == 0)
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn the_fields_lie_where_the_kernel_has_them() {
        assert_eq!(offset_of!(GroupDescriptor, bg_flags), 0x12);
        assert_eq!(offset_of!(GroupDescriptor, bg_itable_unused_lo), 0x1C);
        assert_eq!(offset_of!(GroupDescriptor, bg_free_inodes_count_hi), 0x2E);
        assert_eq!(offset_of!(GroupDescriptor, bg_itable_unused_hi), 0x32);
    }

    #[test]
    fn a_short_descriptor_has_no_upper_halves() {
        let short = GroupDescriptor::from_bytes(&[0xFF; 32]);
        assert_eq!((short.inode_table(), short.itable_unused()), (0xFFFF_FFFF, 0xFFFF));
        let long = GroupDescriptor::from_bytes(&[0xFF; 1024]);
        assert_eq!((long.inode_table(), long.itable_unused()), (u64::MAX, u32::MAX));
    }

    #[test]
    fn counts_have_two_halves_and_no_sign() {
        let mut descriptor = GroupDescriptor::from_bytes(&[]);
        descriptor.add_free_blocks(0x1_0002);
        assert_eq!((descriptor.bg_free_blocks_count_lo.get(), descriptor.bg_free_blocks_count_hi.get()), (2, 1));
        descriptor.add_free_blocks(-3);
        assert_eq!((descriptor.bg_free_blocks_count_lo.get(), descriptor.bg_free_blocks_count_hi.get()), (0xFFFF, 0));
        descriptor.add_free_inodes(-1);
        assert_eq!(descriptor.bg_free_inodes_count_lo.get(), 0);
        descriptor.add_used_dirs(70_000);
        assert_eq!([descriptor.free_blocks(), descriptor.free_inodes(), descriptor.used_dirs()], [0xFFFF, 0, 70_000]);
    }
}
