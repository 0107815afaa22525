//! One open file system: its bytes, its checked superblock, and the inode table that was used last.

use std::cell::Cell;

use super::error::ExtError;
use super::inode::{GroupDescriptor, Inode};
use super::superblock::{SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE, Superblock};
use crate::source::{Effort, ReadAt, Source, Window};

/// A file system that was found to be one.
pub struct Fs<'a, R: ?Sized> {
    source: Source<'a, R>,
    pub sb: Superblock,
    last_group: Cell<Option<(u64, GroupDescriptor)>>,
}

impl<'a, R: ReadAt + ?Sized> Fs<'a, R> {
    /// Reads and checks the superblock; no more than `budget` bytes will be read in all.
    pub fn open(reader: &'a R, window: Window, budget: u64) -> Result<Self, ExtError> {
        if window.size < SUPERBLOCK_OFFSET + SUPERBLOCK_SIZE as u64 {
            return Err(ExtError::NotExt);
        }
        let source = Source::new(reader, window, budget);
        let sb = Superblock::from_bytes(&source.read(SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE)?, window.size)?;
        Ok(Self { source, sb, last_group: Cell::new(None) })
    }

    pub fn window(&self) -> Window {
        self.source.window()
    }

    pub(crate) fn effort(&self) -> Effort {
        self.source.effort()
    }

    /// Fills `buf` from `offset` in the file system.
    pub fn read_into(&self, buf: &mut [u8], offset: u64) -> Result<(), ExtError> {
        self.source.read_into(buf, offset)
    }

    /// `length` bytes at `offset`; callers bound `length` by a block.
    pub fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, ExtError> {
        self.source.read(offset, length)
    }

    /// Where the superblock lies, and its bytes as they are now.
    pub fn superblock_bytes(&self) -> Result<(u64, Vec<u8>), ExtError> {
        Ok((SUPERBLOCK_OFFSET, self.read(SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE)?))
    }

    /// The whole block, which must exist; `what` points to it.
    pub fn read_block(&self, block: u64, what: &str) -> Result<Vec<u8>, ExtError> {
        self.read(self.sb.block_offset(block, what)?, self.sb.block_size as usize)
    }

    /// The descriptor of a group.
    pub fn group(&self, group: u64) -> Result<GroupDescriptor, ExtError> {
        if let Some((_, descriptor)) = self.last_group.get().filter(|(last, _)| *last == group) {
            return Ok(descriptor);
        }
        let bytes = self.read(GroupDescriptor::offset(&self.sb, group)?, usize::from(self.sb.desc_size))?;
        let descriptor = GroupDescriptor::from_bytes(&bytes, &self.sb);
        let descriptor = descriptor.ok_or_else(|| ExtError::corrupt("a group descriptor is too short"))?;
        self.last_group.set(Some((group, descriptor)));
        Ok(descriptor)
    }

    /// Where inode `ino` lies, in bytes within the file system.
    pub fn inode_offset(&self, ino: u32) -> Result<u64, ExtError> {
        if ino == 0 || ino > self.sb.inodes_count {
            return Err(ExtError::corrupt(format!("inode {ino} does not exist")));
        }
        let (group, index) = ((ino - 1) / self.sb.inodes_per_group, (ino - 1) % self.sb.inodes_per_group);
        let table = self.group(u64::from(group))?.inode_table;
        let offset = self.sb.block_offset(table, "an inode table")?;
        Ok(offset + u64::from(index) * u64::from(self.sb.inode_size))
    }

    /// Reads inode `ino`.
    pub fn inode(&self, ino: u32) -> Result<Inode, ExtError> {
        let bytes = self.read(self.inode_offset(ino)?, 128)?;
        Inode::from_bytes(&bytes).ok_or_else(|| ExtError::corrupt(format!("inode {ino} is too short")))
    }
}
