//! Metadata blocks, in which inodes, names, ids and attributes are packed, 8 KiB at a time.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use super::Squashfs;
use super::error::SquashfsError;
use super::inode::Reference;
use crate::bytes::array_at;
use crate::source::ReadAt;

/// The content of a metadata block has at most this many bytes.
pub(crate) const BLOCK: usize = 8192;
const STORED_PLAIN: u16 = 0x8000;
/// Blocks that are kept: 2 MiB.
const KEPT: usize = 256;

/// One block, and where the next begins.
#[derive(Debug)]
pub(crate) struct Block {
    bytes: Vec<u8>,
    next: u64,
}

/// The blocks that were read last.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    blocks: HashMap<u64, Rc<Block>>,
    order: VecDeque<u64>,
}

impl Cache {
    fn keep(&mut self, at: u64, block: &Rc<Block>) {
        if self.order.len() >= KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.blocks.remove(&oldest);
        }
        if self.blocks.insert(at, Rc::clone(block)).is_none() {
            self.order.push_back(at);
        }
    }
}

impl<R: ReadAt> Squashfs<R> {
    /// The block that begins at `at`.
    fn metadata(&self, at: u64) -> Result<Rc<Block>, SquashfsError> {
        if let Some(block) = self.cache.borrow().blocks.get(&at) {
            return Ok(Rc::clone(block));
        }
        let block = Rc::new(self.read_metadata(at)?);
        self.cache.borrow_mut().keep(at, &block);
        Ok(block)
    }

    fn read_metadata(&self, at: u64) -> Result<Block, SquashfsError> {
        let mut header = [0; 2];
        self.read_into(&mut header, at)?;
        let header = u16::from_le_bytes(header);
        let length = usize::from(header & !STORED_PLAIN);
        if length == 0 || length > BLOCK {
            return Err(SquashfsError::Corrupt("a metadata block has an impossible length"));
        }
        let mut bytes = vec![0; length];
        self.read_into(&mut bytes, at + 2)?;
        if header & STORED_PLAIN == 0 {
            bytes = self.sb.compression.expand(&bytes, BLOCK)?;
        }
        match bytes.is_empty() {
            // A walk over empty blocks would not end.
            true => Err(SquashfsError::Corrupt("a metadata block is empty")),
            false => Ok(Block { bytes, next: at + 2 + length as u64 }),
        }
    }

    /// A cursor at the place in the table at `table` that a reference names.
    pub(crate) fn cursor(&self, table: u64, place: Reference) -> Result<Cursor<'_, R>, SquashfsError> {
        let block = table.checked_add(place.block()).ok_or(SquashfsError::Corrupt("a reference points nowhere"))?;
        let cursor = Cursor { image: self, block: self.metadata(block)?, at: place.within() };
        match cursor.at > cursor.block.bytes.len() {
            true => Err(SquashfsError::Corrupt("a reference points behind its block")),
            false => Ok(cursor),
        }
    }
}

/// A place in a run of metadata blocks.
pub(crate) struct Cursor<'a, R> {
    image: &'a Squashfs<R>,
    block: Rc<Block>,
    at: usize,
}

impl<R> Clone for Cursor<'_, R> {
    fn clone(&self) -> Self {
        Self { image: self.image, block: Rc::clone(&self.block), at: self.at }
    }
}

impl<R: ReadAt> Cursor<'_, R> {
    /// Fills `buf`, over the ends of blocks.
    pub(crate) fn read(&mut self, mut buf: &mut [u8]) -> Result<(), SquashfsError> {
        while !buf.is_empty() {
            if self.at >= self.block.bytes.len() {
                self.block = self.image.metadata(self.block.next)?;
                self.at = 0;
            }
            let rest = self.block.bytes.get(self.at..).unwrap_or_default();
            let length = rest.len().min(buf.len());
            let (now, later) = buf.split_at_mut(length);
            now.copy_from_slice(rest.get(..length).unwrap_or_default());
            self.at += length;
            buf = later;
        }
        Ok(())
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], SquashfsError> {
        let mut bytes = [0; N];
        self.read(&mut bytes)?;
        Ok(bytes)
    }

    /// The next `length` bytes; callers bound `length`.
    pub(crate) fn bytes(&mut self, length: usize) -> Result<Vec<u8>, SquashfsError> {
        let mut bytes = vec![0; length];
        self.read(&mut bytes)?;
        Ok(bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, SquashfsError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, SquashfsError> {
        self.array().map(u32::from_le_bytes)
    }
}

/// The `N` bytes of a record at `at`; a record that was read whole has them.
pub(crate) fn field<const N: usize>(record: &[u8], at: usize) -> [u8; N] {
    array_at(record, at).unwrap_or([0; N])
}
