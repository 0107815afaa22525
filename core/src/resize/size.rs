//! How large an image is to become: pure arithmetic over the geometry of its file system.
//!
//! resize2fs drops a last group that is too small to be worth its own bookkeeping; the same rule stands here, so that what is
//! promised beforehand is what comes out.

use crate::create::MIN_SIZE;
use crate::ext::raw::Superblock;

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
        Wish::Free(free) if usable_after(sb, sb.blocks_count) * block(sb) >= free => return Ok(sb.blocks_count),
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
    let mut mib = (least * block(sb)).max(MIN_SIZE).div_ceil(MIB);
    while rounded_down(sb, mib * MIB / block(sb)) < least {
        mib += 1;
    }
    mib
}

/// Largest number of blocks: what 32-bit block numbers reach, for Apptainer takes no others.
pub(super) fn most(sb: &Superblock) -> u64 {
    u64::from(u32::MAX).min(crate::create::MAX_SIZE / block(sb))
}

/// Blocks that an ordinary user could still write if the file system had `blocks`.
pub(super) fn usable_after(sb: &Superblock, blocks: u64) -> u64 {
    let old = sb.blocks_count.max(1);
    let kept_for = |range: std::ops::Range<u64>, blocks| range.map(|group| overhead(sb, group, blocks)).sum::<u64>();
    let (before, after) = (sb.group_count(), groups(sb, blocks));
    let gained = blocks.saturating_sub(old) + kept_for(after..before, old);
    let lost = old.saturating_sub(blocks) + kept_for(before..after, blocks);
    // Counts of a damaged file system may be absurd.
    let reserved = u128::from(sb.r_blocks_count) * u128::from(blocks) / u128::from(old);
    let free = sb.free_blocks_count.saturating_add(gained).saturating_sub(lost);
    free.saturating_sub(u64::try_from(reserved).unwrap_or(u64::MAX))
}

fn for_free(sb: &Superblock, wanted: u64) -> Result<u64, Impossible> {
    let mut blocks = sb.blocks_count;
    for _ in 0..ROUNDS {
        let missing = wanted.saturating_sub(usable_after(sb, blocks));
        if missing == 0 {
            return Ok(blocks);
        }
        blocks = rounded_up(sb, blocks.saturating_add(missing));
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
