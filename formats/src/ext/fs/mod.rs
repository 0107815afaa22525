//! One open file system: its bytes, its checked superblock, and the inode table that was used last.
//!
//! Whoever opens it with [`Fs::owned`] has its metadata kept in memory, within bounds: it must not change then.

mod cache;
mod source;

use std::sync::{Arc, Mutex, PoisonError};

use super::error::ExtError;
use super::group::GroupDescriptor;
use super::inode::Inode;
use super::superblock::{RawSuperblock, SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE, Superblock};
use crate::source::{ReadAt, Window};
use cache::Cache;
pub use source::Effort;
use source::Source;

/// What is read of a directory at once, in bytes.
const TOGETHER: u32 = 32 * 1024;

/// A file system that was found to be one.
pub struct Fs<'a> {
    source: Source<'a>,
    /// What its superblock says.
    pub sb: Superblock,
    last_group: Mutex<Option<(u64, GroupDescriptor)>>,
    cache: Option<Cache>,
}

impl<'a> Fs<'a> {
    /// Reads and checks the superblock; no more than `budget` bytes will be read in all.
    ///
    /// # Errors
    /// No readable ext superblock.
    pub fn open(reader: &'a dyn ReadAt, window: Window, budget: u64) -> Result<Self, ExtError> {
        Self::of(Source::new(Box::new(reader), window, budget), None)
    }

    /// As [`Fs::open`], for one that nobody changes any more: of its metadata up to `cached` bytes are kept in memory.
    ///
    /// # Errors
    /// As [`Fs::open`].
    pub(crate) fn owned(reader: Box<dyn ReadAt + 'a>, window: Window, cached: usize) -> Result<Self, ExtError> {
        Self::of(Source::new(reader, window, u64::MAX), Some(Cache::new(cached)))
    }

    fn of(source: Source<'a>, cache: Option<Cache>) -> Result<Self, ExtError> {
        let size = source.window().size;
        if size < SUPERBLOCK_OFFSET + SUPERBLOCK_SIZE as u64 {
            return Err(ExtError::NotExt);
        }
        let sb = Superblock::from_bytes(&source.read(SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE)?, size)?;
        Ok(Self { source, sb, last_group: Mutex::new(None), cache })
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

    /// As [`Fs::read_block`], from memory where it is kept there.
    pub(crate) fn block(&self, block: u64, what: &str) -> Result<Arc<[u8]>, ExtError> {
        self.blocks(block, 1, what)
    }

    /// As [`Fs::block`], for so many blocks that lie together.
    pub(crate) fn blocks(&self, first: u64, count: u64, what: &str) -> Result<Arc<[u8]>, ExtError> {
        self.sb.block_offset(first.saturating_add(count.max(1) - 1), what)?;
        let length = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(self.sb.block_size as usize);
        self.piece(self.sb.block_offset(first, what)?, length)
    }

    /// How many blocks are read at once where they lie together. Without a memory for them only one is, for who looks for one name may find
    /// it there.
    pub(crate) fn together(&self) -> u64 {
        if self.cache.is_some() { u64::from((TOGETHER / self.sb.block_size).max(1)) } else { 1 }
    }

    /// As [`Fs::read`], from memory where it is kept there.
    pub(crate) fn piece(&self, offset: u64, length: usize) -> Result<Arc<[u8]>, ExtError> {
        let Some(cache) = &self.cache else { return self.read(offset, length).map(Arc::from) };
        if let Some(known) = cache.get(offset, length) {
            return Ok(known);
        }
        let piece: Arc<[u8]> = self.read(offset, length)?.into();
        cache.put(offset, &piece);
        Ok(piece)
    }

    /// The descriptor of a group.
    ///
    /// # Errors
    /// It lies outside of the file system, or cannot be read.
    pub fn group(&self, group: u64) -> Result<GroupDescriptor, ExtError> {
        let known = *self.last_group.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, descriptor)) = known.filter(|(last, _)| *last == group) {
            return Ok(descriptor);
        }
        let descriptor = self.read_group(group)?;
        *self.last_group.lock().unwrap_or_else(PoisonError::into_inner) = Some((group, descriptor));
        Ok(descriptor)
    }

    /// The descriptor of a group as it is on disk now, which matters to who changes it.
    ///
    /// # Errors
    /// As [`Fs::group`].
    pub fn read_group(&self, group: u64) -> Result<GroupDescriptor, ExtError> {
        let offset = GroupDescriptor::offset(&self.sb, group)?;
        let (block, length) = (u64::from(self.sb.block_size), usize::from(self.sb.desc_size));
        if self.cache.is_none() {
            return Ok(GroupDescriptor::from_bytes(&self.read(offset, length)?));
        }
        let (table, within) = (self.piece(offset / block * block, block as usize)?, (offset % block) as usize);
        Ok(GroupDescriptor::from_bytes(table.get(within..within + length).unwrap_or_default()))
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
