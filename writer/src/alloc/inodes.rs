//! Inodes: a file's in its directory's group, directories spread as Orlov's allocator in ext3 does it.

use condatainer_formats::ext::raw::{Inode, ROOT_INO, clear_bit, flag, set_bit};
use nix::errno::Errno;

use super::bitmap::clear_run;
use super::groups::{self, Change};
use crate::error::{Error, Result};
use crate::geometry::Geometry;
use crate::store::Handle;

/// Takes an inode for something that will be made in the directory `parent`. Its record is zeros.
///
/// # Errors
/// `ENOSPC`.
pub(crate) fn inode(handle: &mut Handle<'_>, parent: u32, is_directory: bool) -> Result<u32> {
    let geometry = handle.geometry();
    let count = geometry.groups().len();
    let first = if is_directory { for_directory(handle, parent)? } else { for_file(handle, parent)? };
    for group in (first..count).chain(0..first) {
        if groups::descriptor(handle, group)?.free_inodes() == 0 {
            continue;
        }
        if let Some(ino) = take_in(handle, &geometry, group, is_directory)? {
            return Ok(ino);
        }
    }
    Err(Errno::ENOSPC.into())
}

/// Gives an inode back.
pub(crate) fn free_inode(handle: &mut Handle<'_>, ino: u32, was_directory: bool) -> Result<()> {
    let geometry = handle.geometry();
    if ino < geometry.sb.first_ino || ino > geometry.sb.inodes_count {
        return Err(Error::corrupt(format!("inode {ino} is none that can be freed")));
    }
    let (group, bit) = geometry.group_of_inode(ino);
    let bitmap = handle.change(geometry.group(group)?.inode_bitmap)?;
    if !clear_bit(bitmap, bit) {
        return Err(Error::corrupt(format!("inode {ino} is in use and free")));
    }
    groups::count(handle, group, Change { free_blocks: 0, free_inodes: 1, directories: -i64::from(was_directory) })
}

/// Whether the bitmap says that an inode is in use.
pub(crate) fn is_used(handle: &mut Handle<'_>, ino: u32) -> Result<bool> {
    let geometry = handle.geometry();
    let (group, bit) = geometry.group_of_inode(ino);
    let bitmap = handle.block(geometry.group(group)?.inode_bitmap)?;
    Ok(bitmap.get((bit / 8) as usize).is_some_and(|byte| byte >> (bit % 8) & 1 == 1))
}

/// The first free inode of a group.
fn take_in(handle: &mut Handle<'_>, geometry: &Geometry, group: usize, is_directory: bool) -> Result<Option<u32>> {
    let block = geometry.group(group)?.inode_bitmap;
    let first = u32::try_from(group).unwrap_or(u32::MAX).saturating_mul(geometry.sb.inodes_per_group);
    let reserved = geometry.sb.first_ino.saturating_sub(1).saturating_sub(first);
    let Some(free) = clear_run(&handle.block(block)?, reserved..geometry.sb.inodes_per_group) else { return Ok(None) };
    let ino = first.saturating_add(free.start).saturating_add(1);
    let (table, within) = geometry.inode_place(ino)?;
    let bitmap = handle.change(block)?;
    let is_first = is_first_of_its_block(geometry, bitmap, free.start, reserved);
    if !set_bit(bitmap, free.start) {
        return Err(Error::corrupt(format!("inode {ino} is free and in use")));
    }
    groups::count(handle, group, Change { free_blocks: 0, free_inodes: -1, directories: is_directory.into() })?;
    // Nobody needs what a block says of which no inode is in use: it is not read, as in the kernel.
    let records = if is_first { handle.fresh(table)? } else { handle.change(table)? };
    let record = records.get_mut(within..within + usize::from(geometry.sb.inode_size));
    record.ok_or_else(|| Error::corrupt(format!("inode {ino} is too short")))?.fill(0);
    Ok(Some(ino))
}

/// Whether no inode is in use that shares a block of the table with this one, which is free. Reserved ones always are.
fn is_first_of_its_block(geometry: &Geometry, bitmap: &[u8], bit: u32, reserved: u32) -> bool {
    let in_block = geometry.inodes_per_block();
    let first = bit - bit % in_block;
    let end = first.saturating_add(in_block).min(geometry.sb.inodes_per_group);
    first >= reserved && clear_run(bitmap, first..end) == Some(first..end)
}

/// Where a file goes: to its directory's group; if that is full, to another one that all files of this directory choose alike.
fn for_file(handle: &mut Handle<'_>, parent: u32) -> Result<usize> {
    let geometry = handle.geometry();
    let (home, _) = geometry.group_of_inode(parent);
    let count = geometry.groups().len().max(1);
    let mut has_room = |group| {
        let descriptor = groups::descriptor(handle, group)?;
        Ok::<_, Error>(descriptor.free_inodes() > 0 && descriptor.free_blocks() > 0)
    };
    if has_room(home)? {
        return Ok(home);
    }
    let (mut group, mut step) = ((home + parent as usize) % count, 1);
    while step < count {
        group = (group + step) % count;
        if has_room(group)? {
            return Ok(group);
        }
        step *= 2;
    }
    Ok(home)
}

/// Where a directory goes.
fn for_directory(handle: &mut Handle<'_>, parent: u32) -> Result<usize> {
    let geometry = handle.geometry();
    let (home, _) = geometry.group_of_inode(parent);
    let count = geometry.groups().len();
    let all = Groups::read(handle)?;
    if parent == ROOT_INO || flags(handle, parent)? & flag::TOPDIR != 0 {
        let above = (0..count).filter(|group| all.is_above_average(*group));
        let average = (0..count).filter(|group| all.has_average_inodes(*group));
        let fewest = above.min_by_key(|group| all.directories(*group));
        if let Some(group) = fewest.or_else(|| average.min_by_key(|group| all.directories(*group))) {
            return Ok(group);
        }
    }
    let near = || (home..count).chain(0..home);
    let fit = near().find(|group| all.fits(*group, &geometry));
    let rich = || near().find(|group| all.has_average_inodes(*group));
    Ok(fit.or_else(rich).unwrap_or(home))
}

fn flags(handle: &mut Handle<'_>, ino: u32) -> Result<u32> {
    let (block, within) = handle.geometry().inode_place(ino)?;
    let inode = handle.block(block)?.get(within..).and_then(Inode::from_bytes);
    inode.map(|inode| inode.i_flags.get()).ok_or_else(|| Error::corrupt(format!("inode {ino} is too short")))
}

/// Free inodes, free blocks and directories of each group.
struct Groups {
    of: Vec<[u64; 3]>,
    inodes: u64,
    blocks: u64,
    directories: u64,
}

impl Groups {
    fn read(handle: &mut Handle<'_>) -> Result<Self> {
        let mut all = Self { of: Vec::new(), inodes: 0, blocks: 0, directories: 0 };
        for group in 0..handle.geometry().groups().len() {
            let descriptor = groups::descriptor(handle, group)?;
            let of = [descriptor.free_inodes(), descriptor.free_blocks(), descriptor.used_dirs()].map(u64::from);
            all.inodes += of[0];
            all.blocks += of[1];
            all.directories += of[2];
            all.of.push(of);
        }
        Ok(all)
    }

    fn get(&self, group: usize) -> [u64; 3] {
        self.of.get(group).copied().unwrap_or_default()
    }

    fn count(&self) -> u64 {
        (self.of.len() as u64).max(1)
    }

    fn directories(&self, group: usize) -> u64 {
        self.get(group)[2]
    }

    fn has_average_inodes(&self, group: usize) -> bool {
        let [inodes, ..] = self.get(group);
        inodes > 0 && inodes >= self.inodes / self.count()
    }

    fn is_above_average(&self, group: usize) -> bool {
        self.has_average_inodes(group) && self.get(group)[1] >= self.blocks / self.count()
    }

    /// Whether a group has room for one more directory and what will be in it.
    fn fits(&self, group: usize, geometry: &Geometry) -> bool {
        let [inodes, blocks, directories] = self.get(group);
        let (in_group, blocks_in_group) =
            (u64::from(geometry.sb.inodes_per_group), u64::from(geometry.sb.blocks_per_group));
        let least_inodes = (self.inodes / self.count()).saturating_sub(in_group / 4).max(1);
        let least_blocks = (self.blocks / self.count()).saturating_sub(blocks_in_group / 4);
        let most_directories = self.directories / self.count() + in_group / 16;
        inodes >= least_inodes && blocks >= least_blocks && directories < most_directories
    }
}
