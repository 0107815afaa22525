//! Writing devices and names, in an order that can be cut off anywhere.
//!
//! The image is marked as not clean first, and as clean last. Between the two a name never claims a type that its inode does not
//! have: before the inodes change their names stop telling a type, and that is all that `e2fsck -p` then has to put right. Until
//! its name changes a device `.wh.NAME` hides `NAME` from fuse-overlayfs as the file did. Of what goes, the inode goes first: a name
//! without an inode is cleared by `e2fsck -p`, an inode without a name not always. Blocks with names that a power cut could tear are
//! written in another place, which is marked as used before the directory leads there; the old place is given back afterwards.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{SystemTime, UNIX_EPOCH};

use super::error::TranslateError;
use super::find::{Change, Edit, Findings};
use condatainer_formats::ext::raw::{
    Fs, GroupDescriptor, Inode, InodeRecord, SUPERBLOCK_OFFSET, clear_bit, flag, put_name, put_type, remove_name,
    set_bit,
};
use condatainer_formats::ext::{ExtError, FileType};

/// What is written to; in tests, something that notes in which order.
pub(super) trait Disk {
    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// What is written later comes later on the disk, too.
    fn sync(&self) -> io::Result<()>;
}

impl Disk for File {
    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

pub(super) struct Writer<'a> {
    pub(super) fs: &'a Fs<'a>,
    pub(super) disk: &'a dyn Disk,
    pub(super) found: &'a Findings,
}

/// A block of a directory that gets another place.
struct Move {
    from: u64,
    to: u64,
    /// Where the number of the block stands.
    pointer: u64,
}

impl Writer<'_> {
    pub(super) fn run(&self) -> Result<(), TranslateError> {
        self.mark(false)?;
        for ino in &self.found.indexed {
            self.rewrite_inode(*ino, |inode| inode.clear(flag::INDEX))?;
        }
        self.forget_types()?;
        self.disk.sync()?;
        self.rewrite_inodes()?;
        self.disk.sync()?;
        let moves = self.moves();
        self.take_free_blocks()?;
        for some in moves.chunks(self.found.free.len().max(1)) {
            self.write_copies(some)?;
            self.disk.sync()?;
            self.lead_to_copies(some)?;
            self.disk.sync()?;
        }
        self.rewrite_names()?;
        self.disk.sync()?;
        self.count_blocks(&moves)?;
        // Nothing may say that all is in order before all counts are on the disk.
        self.disk.sync()?;
        self.mark(true)
    }

    /// As many at a time as there are free blocks. Where these are few, the next ones go where the last ones were.
    fn moves(&self) -> Vec<Move> {
        let moved = || self.found.blocks.iter().filter_map(|(from, block)| Some((*from, block.pointer?)));
        let places = self.found.free.iter().copied().chain(moved().map(|(from, _)| from));
        moved().zip(places).map(|((from, pointer), to)| Move { from, to, pointer }).collect()
    }

    /// From here on nobody else takes them.
    fn take_free_blocks(&self) -> Result<(), TranslateError> {
        for (group, bits) in self.by_group(self.found.free.iter().copied()) {
            self.rewrite_bitmap(self.fs.group(group)?.block_bitmap(), &bits, set_bit)?;
        }
        Ok(())
    }

    fn write_copies(&self, moves: &[Move]) -> Result<(), TranslateError> {
        for Move { from, to, .. } in moves {
            self.write(&self.renamed(*from)?, self.block_offset(*to)?)?;
        }
        Ok(())
    }

    fn lead_to_copies(&self, moves: &[Move]) -> Result<(), TranslateError> {
        for Move { to, pointer, .. } in moves {
            let to = u32::try_from(*to).map_err(|_| ExtError::corrupt("a block has a number that is too large"))?;
            self.write(&to.to_le_bytes(), *pointer)?;
        }
        Ok(())
    }

    /// As many are given back as were taken, but perhaps in other groups: the places that were left last.
    fn count_blocks(&self, moves: &[Move]) -> Result<(), TranslateError> {
        let left_last = moves.iter().rev().take(self.found.free.len()).map(|one| one.from);
        for (group, bits) in self.by_group(left_last) {
            self.rewrite_bitmap(self.fs.group(group)?.block_bitmap(), &bits, clear_bit)?;
            self.rewrite_descriptor(group, |descriptor| descriptor.add_free_blocks(bits.len() as i64))?;
        }
        for (group, bits) in self.by_group(self.found.free.iter().copied()) {
            self.rewrite_descriptor(group, |descriptor| descriptor.add_free_blocks(-(bits.len() as i64)))?;
        }
        Ok(())
    }

    /// Blocks as bits in the bitmaps of their groups.
    fn by_group(&self, blocks: impl Iterator<Item = u64>) -> BTreeMap<u64, Vec<u32>> {
        let mut groups: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        let (first, per_group) = (u64::from(self.fs.sb.first_data_block), u64::from(self.fs.sb.blocks_per_group));
        for block in blocks.map(|block| block - first) {
            groups.entry(block / per_group).or_default().push((block % per_group) as u32);
        }
        groups
    }

    fn rewrite_inodes(&self) -> Result<(), TranslateError> {
        for ino in &self.found.devices {
            self.rewrite_inode(*ino, |inode| inode.make_whiteout(self.found.owner))?;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs() as u32);
        for ino in &self.found.removed {
            self.rewrite_inode(*ino, |inode| inode.delete(now))?;
        }
        self.free_inodes()
    }

    /// Gives the inodes of removed files back to their groups.
    fn free_inodes(&self) -> Result<(), TranslateError> {
        let mut groups: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for ino in &self.found.removed {
            let index = ino - 1;
            let group = u64::from(index / self.fs.sb.inodes_per_group);
            groups.entry(group).or_default().push(index % self.fs.sb.inodes_per_group);
        }
        groups.into_iter().try_for_each(|(group, inodes)| self.free_in_group(group, &inodes))
    }

    fn free_in_group(&self, group: u64, inodes: &[u32]) -> Result<(), TranslateError> {
        let freed = self.rewrite_bitmap(self.fs.group(group)?.inode_bitmap(), inodes, clear_bit)?;
        self.rewrite_descriptor(group, |descriptor| descriptor.add_free_inodes(freed))
    }

    /// Tells how many bits were changed.
    fn rewrite_bitmap(
        &self,
        bitmap: u64,
        bits: &[u32],
        change: fn(&mut [u8], u32) -> bool,
    ) -> Result<i64, TranslateError> {
        let mut bytes = self.fs.read_block(bitmap, "a bitmap")?;
        let changed = bits.iter().filter(|bit| change(&mut bytes, **bit)).count();
        self.write(&bytes, self.block_offset(bitmap)?)?;
        Ok(changed as i64)
    }

    fn rewrite_descriptor(&self, group: u64, change: impl FnOnce(&mut GroupDescriptor)) -> Result<(), TranslateError> {
        let mut descriptor = self.fs.read_group(group)?;
        change(&mut descriptor);
        Ok(self.write(descriptor.bytes(&self.fs.sb), GroupDescriptor::offset(&self.fs.sb, group)?)?)
    }

    /// Whether the superblock says that the file system was left in order; when it is, with the right number of free inodes.
    fn mark(&self, valid: bool) -> Result<(), TranslateError> {
        let mut raw = self.fs.raw_superblock()?;
        let freed = if valid { self.found.removed.len() as u32 } else { 0 };
        raw.s_free_inodes_count.set(self.fs.sb.free_inodes_count.saturating_add(freed));
        raw.set_valid(valid);
        self.write(raw.bytes(), SUPERBLOCK_OFFSET)?;
        Ok(self.disk.sync()?)
    }

    fn rewrite_inode(&self, ino: u32, change: impl FnOnce(&mut Inode)) -> Result<(), TranslateError> {
        let offset = self.fs.inode_offset(ino)?;
        let mut raw = self.fs.read(offset, usize::from(self.fs.sb.inode_size))?;
        let record = InodeRecord::of_mut(&mut raw).ok_or_else(|| ExtError::corrupt("an inode is too short"))?;
        change(&mut record.inode);
        Ok(self.write(&raw, offset)?)
    }

    /// Without the feature `filetype` no name tells a type.
    fn put_type(&self, block: &mut [u8], edit: &Edit, kind: Option<FileType>) -> bool {
        !self.fs.sb.features.has_filetype() || put_type(block, edit.at, kind)
    }

    /// Of the names that will change their inode's type.
    fn forget_types(&self) -> Result<(), TranslateError> {
        for (number, block) in &self.found.blocks {
            let mut bytes = self.fs.read_block(*number, "a directory")?;
            for edit in block.edits.iter().filter(|edit| matches!(edit.change, Change::Rename(_))) {
                changed(self.put_type(&mut bytes, edit, None))?;
            }
            self.write(&bytes, self.block_offset(*number)?)?;
        }
        Ok(())
    }

    /// Where they stand; what moves is renamed in its copy.
    fn rewrite_names(&self) -> Result<(), TranslateError> {
        for (number, _) in self.found.blocks.iter().filter(|(_, block)| block.pointer.is_none()) {
            self.write(&self.renamed(*number)?, self.block_offset(*number)?)?;
        }
        Ok(())
    }

    /// A block with its new names.
    fn renamed(&self, number: u64) -> Result<Vec<u8>, ExtError> {
        let mut bytes = self.fs.read_block(number, "a directory")?;
        for edit in self.found.blocks.get(&number).into_iter().flat_map(|block| &block.edits) {
            changed(match &edit.change {
                Change::Rename(name) => {
                    put_name(&mut bytes, edit.at, name) && self.put_type(&mut bytes, edit, Some(FileType::CharDevice))
                }
                Change::Remove => remove_name(&mut bytes, edit.at),
            })?;
        }
        Ok(bytes)
    }

    fn block_offset(&self, number: u64) -> Result<u64, ExtError> {
        self.fs.sb.block_offset(number, "a block")
    }

    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.write(bytes, self.fs.window().offset + offset)
    }
}

/// What was read twice under the lock has not changed, so this cannot fail; if it does, nothing wrong is written.
fn changed(done: bool) -> Result<(), ExtError> {
    if done { Ok(()) } else { Err(ExtError::corrupt("a directory changed while it was rewritten")) }
}
