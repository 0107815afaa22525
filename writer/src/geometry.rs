//! What never changes while an image is open: its superblock's figures, and where each group keeps its bitmaps and its inode table.
//!
//! The blocks of those structures are the system's. No file may claim one, whatever a bitmap or a pointer of the image says: who writes
//! there would write a structure.

use std::ops::Range;

use condatainer_formats::ext::raw::{Fs, GroupDescriptor, SUPERBLOCK_OFFSET, Superblock};
use condatainer_formats::ext::{ExtError, ReadAt, Window};

use crate::error::{Error, Result};

/// Where a group keeps what describes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group {
    /// The block with the bitmap of its blocks.
    pub(crate) block_bitmap: u64,
    /// The block with the bitmap of its inodes.
    pub(crate) inode_bitmap: u64,
    /// The first block of its inode table.
    pub(crate) inode_table: u64,
}

/// The inode that keeps room for descriptors, and where in it the number of the block stands that points to their blocks.
const RESIZE_INO: u32 = 7;
const DOUBLE: usize = 13;

/// The fixed part of a file system.
#[derive(Debug)]
pub(crate) struct Geometry {
    /// What the superblock said when the image was opened. Counts in it are old.
    pub(crate) sb: Superblock,
    groups: Vec<Group>,
    /// Sorted, apart from each other.
    system: Vec<Range<u64>>,
    /// The same of what the inode keeps that has room for more descriptors. Nothing else tells them from a file's blocks.
    kept_for_resizing: Vec<Range<u64>>,
}

impl Geometry {
    /// Of a file system whose journal has been replayed.
    pub(crate) fn read(device: &dyn ReadAt, size: u64) -> Result<Self> {
        let fs = Fs::open(device, Window::whole(size), u64::MAX)?;
        let mut groups = Vec::new();
        for group in 0..fs.sb.group_count() {
            let descriptor = fs.group(group)?;
            let [block_bitmap, inode_bitmap] = [descriptor.block_bitmap(), descriptor.inode_bitmap()];
            groups.push(Group { block_bitmap, inode_bitmap, inode_table: descriptor.inode_table() });
        }
        let system = system_zones(&fs.sb, &groups)?;
        let kept_for_resizing = kept_for_resizing(&fs)?;
        Ok(Self { sb: fs.sb, groups, system, kept_for_resizing })
    }

    /// These blocks are the system's too.
    pub(crate) fn claim(&mut self, zones: impl Iterator<Item = Range<u64>>) {
        self.system = merged(self.system.drain(..).chain(zones).collect());
    }

    /// In bytes.
    pub(crate) fn block_size(&self) -> usize {
        self.sb.block_size as usize
    }

    /// How many block numbers fit in a block.
    pub(crate) fn pointers_per_block(&self) -> u64 {
        u64::from(self.sb.block_size / 4)
    }

    /// How many inodes lie in a block of a table.
    pub(crate) fn inodes_per_block(&self) -> u32 {
        self.sb.block_size / u32::from(self.sb.inode_size)
    }

    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub(crate) fn group(&self, group: usize) -> Result<&Group> {
        self.groups.get(group).ok_or_else(|| Error::corrupt(format!("group {group} does not exist")))
    }

    /// The blocks of a group; the last may have fewer.
    pub(crate) fn blocks_of(&self, group: usize) -> Range<u64> {
        let per_group = u64::from(self.sb.blocks_per_group);
        let first = u64::from(self.sb.first_data_block) + group as u64 * per_group;
        first..(first + per_group).min(self.sb.blocks_count)
    }

    /// The group that a block lies in, and its place there.
    pub(crate) fn group_of(&self, block: u64) -> (usize, u32) {
        let (index, per_group) = (block.saturating_sub(self.sb.first_data_block.into()), self.sb.blocks_per_group);
        let place = (index % u64::from(per_group)) as u32;
        (usize::try_from(index / u64::from(per_group)).unwrap_or(usize::MAX), place)
    }

    /// The group that an inode lies in, and its place there.
    pub(crate) fn group_of_inode(&self, ino: u32) -> (usize, u32) {
        let index = ino.saturating_sub(1);
        ((index / self.sb.inodes_per_group) as usize, index % self.sb.inodes_per_group)
    }

    /// The block that the record of an inode lies in, and where in it, in bytes.
    pub(crate) fn inode_place(&self, ino: u32) -> Result<(u64, usize)> {
        if ino == 0 || ino > self.sb.inodes_count {
            return Err(Error::corrupt(format!("inode {ino} does not exist")));
        }
        let (group, index) = self.group_of_inode(ino);
        let (table, per_block) = (self.group(group)?.inode_table, self.inodes_per_block());
        let within = (index % per_block) as usize * usize::from(self.sb.inode_size);
        Ok((table + u64::from(index / per_block), within))
    }

    /// The block that a group's descriptor lies in, and where in it, in bytes.
    pub(crate) fn descriptor_place(&self, group: usize) -> Result<(u64, usize)> {
        let offset = GroupDescriptor::offset(&self.sb, group as u64)?;
        let block_size = u64::from(self.sb.block_size);
        Ok((offset / block_size, (offset % block_size) as usize))
    }

    /// The block that the superblock lies in, and where in it, in bytes.
    pub(crate) fn superblock_place(&self) -> (u64, usize) {
        let block_size = u64::from(self.sb.block_size);
        (SUPERBLOCK_OFFSET / block_size, (SUPERBLOCK_OFFSET % block_size) as usize)
    }

    /// How many blocks the file system keeps for itself.
    pub(crate) fn overhead(&self) -> u64 {
        self.system.iter().map(|zone| zone.end - zone.start).sum()
    }

    /// An error if any of these blocks does not exist or belongs to the system. `what` points to them.
    pub(crate) fn require_free_for_files(&self, blocks: Range<u64>, what: &str) -> Result<()> {
        let exist = blocks.start >= u64::from(self.sb.first_data_block) && blocks.end <= self.sb.blocks_count;
        let apart = |zones: &[Range<u64>]| {
            let next = zones.partition_point(|zone| zone.end <= blocks.start);
            zones.get(next).is_none_or(|zone| blocks.end <= zone.start)
        };
        if blocks.start != 0 && exist && apart(&self.system) && apart(&self.kept_for_resizing) {
            return Ok(());
        }
        Err(Error::corrupt(format!("{what} points to block {}, which is no block for files", blocks.start)))
    }
}

/// The blocks behind the descriptors that are kept for more of them, and the one that points to them.
fn kept_for_resizing(fs: &Fs<'_>) -> Result<Vec<Range<u64>>> {
    let sb = &fs.sb;
    let pointers = fs.inode(RESIZE_INO)?.i_block.get(DOUBLE).map_or(0, |block| u64::from(block.get()));
    if pointers == 0 {
        return Ok(Vec::new());
    }
    let descriptors = (sb.group_count() * u64::from(sb.desc_size)).div_ceil(u64::from(sb.block_size));
    let groups = (0..sb.group_count()).filter(|group| sb.group_has_super(*group));
    let behind = groups.map(|group| {
        let start = u64::from(sb.first_data_block) + group * u64::from(sb.blocks_per_group) + 1 + descriptors;
        start..start + u64::from(sb.reserved_gdt_blocks)
    });
    Ok(merged(behind.chain(std::iter::once(pointers..pointers + 1)).collect()))
}

/// All blocks of superblocks, descriptors, bitmaps and inode tables. Those of the journal are claimed by who reads it.
fn system_zones(sb: &Superblock, groups: &[Group]) -> Result<Vec<Range<u64>>> {
    let block_size = u64::from(sb.block_size);
    let table = (u64::from(sb.inodes_per_group) * u64::from(sb.inode_size)).div_ceil(block_size);
    let per_group = u64::from(sb.blocks_per_group);
    let descriptors = (groups.len() as u64 * u64::from(sb.desc_size)).div_ceil(block_size);
    let mut zones = Vec::new();
    for (number, group) in groups.iter().enumerate() {
        let start = u64::from(sb.first_data_block) + number as u64 * per_group;
        if sb.group_has_super(number as u64) {
            zones.push(start..(start + 1 + descriptors).min(sb.blocks_count));
        }
        let (descriptor, _) = descriptor_block(sb, number as u64)?;
        zones.push(descriptor..descriptor + 1);
        for single in [group.block_bitmap, group.inode_bitmap] {
            zones.push(single..single + 1);
        }
        zones.push(group.inode_table..group.inode_table + table);
    }
    // Block 0 is the boot block where blocks have 1 KiB.
    zones.push(0..u64::from(sb.first_data_block) + 1);
    merged(zones).into_iter().map(|zone| if zone.end <= sb.blocks_count { Ok(zone) } else { Err(outside()) }).collect()
}

fn descriptor_block(sb: &Superblock, group: u64) -> std::result::Result<(u64, u64), ExtError> {
    let offset = GroupDescriptor::offset(sb, group)?;
    Ok((offset / u64::from(sb.block_size), offset % u64::from(sb.block_size)))
}

fn outside() -> Error {
    Error::corrupt("a group keeps its bitmaps or inodes outside of the file system")
}

fn merged(mut zones: Vec<Range<u64>>) -> Vec<Range<u64>> {
    zones.sort_unstable_by_key(|zone| zone.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for zone in zones {
        match merged.last_mut() {
            Some(last) if zone.start <= last.end => last.end = last.end.max(zone.end),
            _ => merged.push(zone),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Image;

    #[test]
    fn what_is_kept_for_resizing_is_no_files() {
        for (kibibytes, block_size) in [(20 << 10, "1024"), (64 << 10, "4096")] {
            let image = Image::new(kibibytes, &["-b", block_size], &[]);
            let kept = image.debugfs("blocks <7>");
            let kept: Vec<u64> = kept.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            assert!(kept.len() > 2, "{kept:?}");
            let geometry = Geometry::read(&image.device(), kibibytes * 1024).unwrap();
            for block in kept {
                assert!(geometry.require_free_for_files(block..block + 1, "a map").is_err(), "{block}");
            }
            let free = geometry.kept_for_resizing.last().unwrap().end;
            assert!(
                (free..geometry.sb.blocks_count)
                    .any(|block| geometry.require_free_for_files(block..block + 1, "").is_ok())
            );
        }
    }

    #[test]
    fn zones_that_touch_are_one() {
        assert_eq!(merged(vec![5..7, 0..1, 7..9, 6..8, 20..21]), [0..1, 5..9, 20..21]);
    }
}
