//! How large an image is to become: pure arithmetic over the geometry of its file system.
//!
//! resize2fs drops a last group that is too small to be worth its own bookkeeping; the same rule stands here, so that what is
//! promised beforehand is what comes out.

use crate::verbs::create::MIN_SIZE;
use condatainer_formats::ext::raw::Superblock;

/// Blocks beyond its bookkeeping that the last group must have, by resize2fs's rule.
const WORTH_A_GROUP: u64 = 50;
/// Each round closes at least half of the gap, unless the geometry is absurd.
const ROUNDS: u32 = 100;
const MIB: u64 = 1 << 20;

/// What was asked for, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// This size.
    To(u64),
    /// So much larger.
    Grow(u64),
    /// So much smaller.
    Shrink(u64),
    /// Large enough that at least this much can still be written; never smaller than now.
    Free(u64),
}

/// Why a wish cannot be fulfilled by any file system of this geometry. Sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Impossible {
    TooSmall(u64),
    TooLarge(u64),
}

/// The number of blocks that fulfils `wish`; the present number where nothing is to be done.
pub(super) fn blocks_for(wish: Wish, sb: &Superblock) -> Result<u64, Impossible> {
    let size = sb.blocks_count * block(sb);
    let bytes = match wish {
        Wish::To(bytes) => bytes,
        Wish::Grow(by) => size.saturating_add(by),
        Wish::Shrink(by) => size.saturating_sub(by),
        Wish::Free(free) if usable_after(sb, sb.blocks_count).saturating_mul(block(sb)) >= free => {
            return Ok(sb.blocks_count);
        }
        Wish::Free(free) => return for_free(sb, free.div_ceil(block(sb))),
    };
    let blocks = bytes / block(sb);
    match blocks {
        _ if blocks == sb.blocks_count => Ok(blocks),
        _ if bytes < MIN_SIZE => Err(Impossible::TooSmall(bytes)),
        _ if blocks > most(sb) => Err(Impossible::TooLarge(bytes)),
        // Never the opposite of what was asked for.
        _ if blocks > sb.blocks_count => Ok(rounded_down(sb, blocks).max(sb.blocks_count)),
        _ => Ok(rounded_down(sb, blocks)),
    }
}

/// The least size that a user may type, in whole MiB, for a file system that needs `least` blocks.
pub(super) fn least_mib(sb: &Superblock, least: u64) -> u64 {
    let mut mib = least.saturating_mul(block(sb)).max(MIN_SIZE).div_ceil(MIB);
    while rounded_down(sb, mib.saturating_mul(MIB) / block(sb)) < least {
        mib += 1;
    }
    mib
}

/// Largest number of blocks: what 32-bit block numbers reach, for Apptainer takes no others.
pub(super) fn most(sb: &Superblock) -> u64 {
    u64::from(u32::MAX).min(crate::verbs::create::MAX_SIZE / block(sb))
}

/// Blocks that could still be written by way of fuse2fs if the file system had `blocks`.
pub(super) fn usable_after(sb: &Superblock, blocks: u64) -> u64 {
    let old = sb.blocks_count.max(1);
    let kept_for = |range: std::ops::Range<u64>, blocks| range.map(|group| overhead(sb, group, blocks)).sum::<u64>();
    let (before, after) = (sb.group_count(), groups(sb, blocks));
    let gained = blocks.saturating_sub(old) + kept_for(after..before, old);
    let lost = old.saturating_sub(blocks) + kept_for(before..after, blocks);
    // Counts of a damaged file system may be absurd.
    let free = sb.free_blocks_count.saturating_add(gained).saturating_sub(lost);
    free.saturating_sub(sb.reserved_by_fuse2fs(blocks))
}

fn for_free(sb: &Superblock, wanted: u64) -> Result<u64, Impossible> {
    let mut blocks = sb.blocks_count;
    for _ in 0..ROUNDS {
        let missing = wanted.saturating_sub(usable_after(sb, blocks));
        if missing == 0 {
            return Ok(blocks);
        }
        // Of what is added, a tenth is kept back.
        blocks = rounded_up(sb, blocks.saturating_add(missing).saturating_add(missing / 9));
        if blocks > most(sb) {
            break;
        }
    }
    Err(Impossible::TooLarge(blocks.saturating_mul(block(sb))))
}

/// What resize2fs makes of `blocks`.
fn rounded_down(sb: &Superblock, blocks: u64) -> u64 {
    match tail(sb, blocks) {
        (rest, needed) if rest < needed => blocks - rest,
        _ => blocks,
    }
}

/// At least `blocks`, and such that resize2fs drops none.
fn rounded_up(sb: &Superblock, blocks: u64) -> u64 {
    match tail(sb, blocks) {
        (rest, needed) if rest < needed => blocks - rest + needed,
        _ => blocks,
    }
}

/// Blocks in a last group that is not full, and how many it must have; zeroes where the last group is full, or the first.
fn tail(sb: &Superblock, blocks: u64) -> (u64, u64) {
    let rest = blocks.saturating_sub(u64::from(sb.first_data_block)) % u64::from(sb.blocks_per_group);
    let last = groups(sb, blocks).saturating_sub(1);
    if rest == 0 || last == 0 { (0, 0) } else { (rest, overhead(sb, last, blocks) + WORTH_A_GROUP) }
}

/// Blocks of a group that hold no files: bitmaps, inode table, and in some groups copies of superblock and descriptors.
fn overhead(sb: &Superblock, group: u64, blocks: u64) -> u64 {
    let table = (u64::from(sb.inodes_per_group) * u64::from(sb.inode_size)).div_ceil(block(sb));
    let descriptors = (groups(sb, blocks) * u64::from(sb.desc_size)).div_ceil(block(sb));
    let copies = if sb.group_has_super(group) { 1 + descriptors + u64::from(sb.reserved_gdt_blocks) } else { 0 };
    2 + table + copies
}

fn groups(sb: &Superblock, blocks: u64) -> u64 {
    blocks.saturating_sub(u64::from(sb.first_data_block)).div_ceil(u64::from(sb.blocks_per_group).max(1))
}

fn block(sb: &Superblock) -> u64 {
    u64::from(sb.block_size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As `condatainer o -s` makes it, with `used` blocks of data.
    fn made(blocks: u64, used: u64) -> Superblock {
        let mut bytes = vec![0; 1024];
        let groups = blocks.div_ceil(32768);
        for (at, value) in
            [(0, groups * 8192), (4, blocks), (0x14, 0), (0x18, 2), (0x20, 32768), (0x28, 8192), (0x4C, 1)]
        {
            bytes[at..at + 4].copy_from_slice(&u32::try_from(value).unwrap().to_le_bytes());
        }
        for (at, value) in [(0x38, 0xEF53_u16), (0x58, 256), (0xCE, 127)] {
            bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
        bytes[0x54] = 11;
        bytes[0x64] = 1;
        let mut sb = Superblock::from_bytes(&bytes, u64::MAX).unwrap();
        sb.free_blocks_count = blocks - used;
        sb
    }

    #[test]
    fn a_last_group_that_is_too_small_is_left_out() {
        let sb = made(32768, 2000);
        assert_eq!(blocks_for(Wish::To(129 * MIB), &sb), Ok(32768));
        assert_eq!(blocks_for(Wish::To(140 * MIB), &sb), Ok(140 * 256));
        assert_eq!(blocks_for(Wish::Grow(0), &sb), Ok(32768));
    }

    #[test]
    fn limits() {
        let sb = made(32768, 2000);
        assert_eq!(blocks_for(Wish::Shrink(100 * MIB), &sb), Err(Impossible::TooSmall(28 * MIB)));
        assert_eq!(blocks_for(Wish::To(u64::MAX), &sb), Err(Impossible::TooLarge(u64::MAX)));
        assert!(matches!(blocks_for(Wish::Free(u64::MAX), &sb), Err(Impossible::TooLarge(_))));
    }

    #[test]
    fn the_least_size_can_be_typed() {
        let sb = made(8 * 32768, 2000);
        assert_eq!(least_mib(&sb, 100), 64);
        // 128 MiB and one block would be 128 MiB: the last group is worth it only with its table and 50 blocks.
        let least = least_mib(&sb, 32769);
        assert!(blocks_for(Wish::To(least * MIB), &sb).unwrap() >= 32769 && least < 140, "{least}");
    }

    #[test]
    fn an_absurd_geometry_ends() {
        let mut sb = made(32768, 2000);
        sb.r_blocks_count = u64::MAX;
        assert!(matches!(blocks_for(Wish::Free(MIB), &sb), Err(Impossible::TooLarge(_))));
        sb.reserved_gdt_blocks = u16::MAX;
        sb.r_blocks_count = 0;
        sb.free_blocks_count = u64::MAX;
        let _ = blocks_for(Wish::Free(MIB), &sb);
    }

    proptest! {
        #[test]
        fn enough_becomes_free_and_hardly_more(blocks in 16384_u64..200_000, used in 100_u64..16000, free in 0_u64..4 << 30) {
            let blocks = rounded_down(&made(blocks, used), blocks);
            let sb = made(blocks, used);
            let wished = blocks_for(Wish::Free(free), &sb).unwrap();
            prop_assert!(wished >= blocks);
            prop_assert!(usable_after(&sb, wished) * 4096 >= free);
            prop_assert_eq!(rounded_down(&sb, wished), wished);
            let spare = usable_after(&sb, wished) * 4096 - free.min(usable_after(&sb, wished) * 4096);
            prop_assert!(wished == blocks || spare < 4 * MIB, "{} bytes too many", spare);
        }
    }
}
