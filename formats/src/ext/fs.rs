//! One open file system: its bytes, its checked superblock, and the inode table that was used last.

use std::cell::Cell;

use super::error::ExtError;
use super::group::GroupDescriptor;
use super::inode::Inode;
use super::source::{Effort, Source};
use super::superblock::{RawSuperblock, SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE, Superblock};
use crate::source::{ReadAt, Window};

/// A file system that was found to be one.
pub struct Fs<'a> {
    source: Source<'a>,
    /// What its superblock says.
    pub sb: Superblock,
    last_group: Cell<Option<(u64, GroupDescriptor)>>,
}

impl<'a> Fs<'a> {
    /// Reads and checks the superblock; no more than `budget` bytes will be read in all.
    ///
    /// # Errors
    /// No readable ext superblock.
    pub fn open(reader: &'a dyn ReadAt, window: Window, budget: u64) -> Result<Self, ExtError> {
        if window.size < SUPERBLOCK_OFFSET + SUPERBLOCK_SIZE as u64 {
            return Err(ExtError::NotExt);
        }
        let source = Source::new(reader, window, budget);
        let sb = Superblock::from_bytes(&source.read(SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE)?, window.size)?;
        Ok(Self { source, sb, last_group: Cell::new(None) })
    }

    /// Where it lies in what was opened.
    #[must_use]
    pub fn window(&self) -> Window {
        self.source.window()
    }

    pub(crate) fn effort(&self) -> Effort {
        self.source.effort()
    }

    /// Fills `buf` from `offset` in the file system.
    ///
    /// # Errors
    /// Outside of the file system, or it cannot be read.
    pub(crate) fn read_into(&self, buf: &mut [u8], offset: u64) -> Result<(), ExtError> {
        self.source.read_into(buf, offset)
    }

    /// `length` bytes at `offset`; callers bound `length` by a block.
    ///
    /// # Errors
    /// As [`Fs::read_into`].
    pub fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, ExtError> {
        self.source.read(offset, length)
    }

    /// The bytes of the superblock as they are now. They lie at [`SUPERBLOCK_OFFSET`].
    ///
    /// # Errors
    /// They cannot be read.
    pub fn raw_superblock(&self) -> Result<RawSuperblock, ExtError> {
        let mut bytes = [0; SUPERBLOCK_SIZE];
        self.read_into(&mut bytes, SUPERBLOCK_OFFSET)?;
        Ok(zerocopy::transmute!(bytes))
    }

    /// The whole block, which must exist; `what` points to it.
    ///
    /// # Errors
    /// It does not exist, or cannot be read.
    pub fn read_block(&self, block: u64, what: &str) -> Result<Vec<u8>, ExtError> {
        self.read(self.sb.block_offset(block, what)?, self.sb.block_size as usize)
    }

    /// The descriptor of a group.
    ///
    /// # Errors
    /// It lies outside of the file system, or cannot be read.
    pub fn group(&self, group: u64) -> Result<GroupDescriptor, ExtError> {
        if let Some((_, descriptor)) = self.last_group.get().filter(|(last, _)| *last == group) {
            return Ok(descriptor);
        }
        let descriptor = self.read_group(group)?;
        self.last_group.set(Some((group, descriptor)));
        Ok(descriptor)
    }

    /// The descriptor of a group as it is on disk now, which matters to who changes it.
    ///
    /// # Errors
    /// As [`Fs::group`].
    pub fn read_group(&self, group: u64) -> Result<GroupDescriptor, ExtError> {
        let offset = GroupDescriptor::offset(&self.sb, group)?;
        Ok(GroupDescriptor::from_bytes(&self.read(offset, usize::from(self.sb.desc_size))?))
    }

    /// Where inode `ino` lies, in bytes within the file system.
    ///
    /// # Errors
    /// There is no such inode.
    pub fn inode_offset(&self, ino: u32) -> Result<u64, ExtError> {
        if ino == 0 || ino > self.sb.inodes_count {
            return Err(ExtError::corrupt(format!("inode {ino} does not exist")));
        }
        let (group, index) = ((ino - 1) / self.sb.inodes_per_group, (ino - 1) % self.sb.inodes_per_group);
        let table = self.group(u64::from(group))?.inode_table();
        let offset = self.sb.block_offset(table, "an inode table")?;
        Ok(offset + u64::from(index) * u64::from(self.sb.inode_size))
    }

    /// Reads inode `ino`.
    ///
    /// # Errors
    /// As [`Fs::inode_offset`], or it cannot be read.
    pub fn inode(&self, ino: u32) -> Result<Inode, ExtError> {
        let bytes = self.read(self.inode_offset(ino)?, size_of::<Inode>())?;
        Inode::from_bytes(&bytes).ok_or_else(|| ExtError::corrupt(format!("inode {ino} is too short")))
    }
}
