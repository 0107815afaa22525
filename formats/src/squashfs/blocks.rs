//! The blocks of an image: metadata, in which inodes, names, ids and attributes are packed, 8 KiB at a time, and file data.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use super::compress::Compression;
use super::error::SquashfsError;
use super::reference::Reference;
use super::superblock::{SUPERBLOCK_SIZE, Superblock};
use crate::bytes::array_at;
use crate::source::{ReadAt, Window, read_exact_at};

/// The content of a metadata block has at most this many bytes.
pub(super) const BLOCK: usize = 8192;
/// In the header of a metadata block: it is stored as it is.
const STORED_PLAIN: u16 = 0x8000;
/// In the size of a block of file data: the same.
const DATA_STORED_PLAIN: u32 = 1 << 24;
/// An entry of the table of fragments, in bytes.
const FRAGMENT_LENGTH: usize = 16;
/// Blocks that are kept: 2 MiB.
const KEPT: usize = 256;

/// One block, and where the next begins.
#[derive(Debug)]
pub(super) struct Block {
    bytes: Vec<u8>,
    next: u64,
}

/// The blocks that were read last.
#[derive(Debug, Default)]
pub(super) struct Cache {
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

/// An image as what its blocks hold.
pub(super) struct Blocks {
    reader: Box<dyn ReadAt>,
    window: Window,
    pub(super) sb: Superblock,
    compression: Compression,
    cache: RefCell<Cache>,
    /// The fragment that was read last: small files of one directory usually lie in one.
    fragment: RefCell<Option<(u32, Rc<[u8]>)>>,
}

impl Blocks {
    /// Those of the image in `window` of `reader`.
    pub(super) fn open(reader: Box<dyn ReadAt>, window: Window) -> Result<Self, SquashfsError> {
        let mut head = vec![0; SUPERBLOCK_SIZE.min(usize::try_from(window.size).unwrap_or(SUPERBLOCK_SIZE))];
        read_exact_at(&*reader, &mut head, window.offset)?;
        let sb = Superblock::from_bytes(&head, window.size)?;
        let compression = Compression::from_code(sb.compression.get())?;
        Ok(Self { reader, window, sb, compression, cache: RefCell::default(), fragment: RefCell::default() })
    }

    /// Fills `buf` from `offset` within the image.
    pub(super) fn read_into(&self, buf: &mut [u8], offset: u64) -> Result<(), SquashfsError> {
        let end = offset.checked_add(buf.len() as u64).filter(|end| self.sb.bytes_used >= *end);
        let start = end.and_then(|_| self.window.offset.checked_add(offset));
        let start = start.ok_or(SquashfsError::Corrupt("something lies outside the image"))?;
        Ok(read_exact_at(&*self.reader, buf, start)?)
    }

    /// The content of the block of file data at `at`, and the bytes it takes. `size` says how it is stored.
    pub(super) fn data(&self, at: u64, size: u32) -> Result<(Vec<u8>, u32), SquashfsError> {
        let (stored, limit) = (size & !DATA_STORED_PLAIN, self.sb.block_size.get());
        if stored == 0 || stored > limit {
            return Err(SquashfsError::Corrupt("a block has an impossible length"));
        }
        let mut bytes = vec![0; usize::try_from(stored).unwrap_or(0)];
        self.read_into(&mut bytes, at)?;
        if size & DATA_STORED_PLAIN == 0 {
            bytes = self.compression.expand(&bytes, usize::try_from(limit).unwrap_or(0))?;
        }
        Ok((bytes, stored))
    }

    /// The content of fragment `number`, in which the ends of files lie together.
    pub(super) fn fragment(&self, number: u32) -> Result<Rc<[u8]>, SquashfsError> {
        if let Some((_, bytes)) = self.fragment.borrow().as_ref().filter(|(last, _)| *last == number) {
            return Ok(Rc::clone(bytes));
        }
        if number >= self.sb.fragments.get() {
            return Err(SquashfsError::Corrupt("a file has a fragment that does not exist"));
        }
        let at = u64::from(number) * FRAGMENT_LENGTH as u64;
        let record: [u8; FRAGMENT_LENGTH] = self.record(self.sb.fragment_table_start.get(), at)?;
        let (start, size) = (u64::from_le_bytes(field(&record, 0)), u32::from_le_bytes(field(&record, 8)));
        let bytes: Rc<[u8]> = self.data(start, size)?.0.into();
        *self.fragment.borrow_mut() = Some((number, Rc::clone(&bytes)));
        Ok(bytes)
    }

    /// `N` bytes at `at` within the records that the list of block positions at `list` leads to.
    pub(super) fn record<const N: usize>(&self, list: u64, at: u64) -> Result<[u8; N], SquashfsError> {
        let block = at / BLOCK as u64;
        let entry = list.checked_add(block * 8).ok_or(SquashfsError::Corrupt("a table lies outside the image"))?;
        let mut start = [0; 8];
        self.read_into(&mut start, entry)?;
        let within = Reference(at % BLOCK as u64);
        self.cursor(u64::from_le_bytes(start), within)?.array()
    }

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
            bytes = self.compression.expand(&bytes, BLOCK)?;
        }
        match bytes.is_empty() {
            // A walk over empty blocks would not end.
            true => Err(SquashfsError::Corrupt("a metadata block is empty")),
            false => Ok(Block { bytes, next: at + 2 + length as u64 }),
        }
    }

    /// A cursor at the place in the table at `table` that a reference names.
    pub(super) fn cursor(&self, table: u64, place: Reference) -> Result<Cursor<'_>, SquashfsError> {
        let block = table.checked_add(place.block()).ok_or(SquashfsError::Corrupt("a reference points nowhere"))?;
        let cursor = Cursor { blocks: self, block: self.metadata(block)?, at: place.within() };
        match cursor.at > cursor.block.bytes.len() {
            true => Err(SquashfsError::Corrupt("a reference points behind its block")),
            false => Ok(cursor),
        }
    }
}

/// A place in a run of metadata blocks.
pub(super) struct Cursor<'a> {
    blocks: &'a Blocks,
    block: Rc<Block>,
    at: usize,
}

impl Cursor<'_> {
    /// Fills `buf`, over the ends of blocks.
    pub(super) fn read(&mut self, mut buf: &mut [u8]) -> Result<(), SquashfsError> {
        while !buf.is_empty() {
            if self.at >= self.block.bytes.len() {
                self.block = self.blocks.metadata(self.block.next)?;
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
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], SquashfsError> {
        let mut bytes = [0; N];
        self.read(&mut bytes)?;
        Ok(bytes)
    }

    /// The next `length` bytes; callers bound `length`.
    pub(super) fn bytes(&mut self, length: usize) -> Result<Vec<u8>, SquashfsError> {
        let mut bytes = vec![0; length];
        self.read(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, SquashfsError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, SquashfsError> {
        self.array().map(u32::from_le_bytes)
    }
}

/// The `N` bytes of a record at `at`; a record that was read whole has them.
pub(super) fn field<const N: usize>(record: &[u8], at: usize) -> [u8; N] {
    array_at(record, at).unwrap_or([0; N])
}
