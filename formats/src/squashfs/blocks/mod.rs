//! The blocks of an image: metadata, in which inodes, names, ids and attributes are packed, 8 KiB at a time, and file data.

mod cache;

use std::cell::Cell;
use std::sync::Arc;

use super::compress::Compression;
use super::error::SquashfsError;
use super::reference::Reference;
use super::superblock::{SUPERBLOCK_SIZE, Superblock};
use crate::bytes::array_at;
use crate::source::{ReadAt, Window, read_exact_at};
pub(super) use cache::Block;
use cache::{Cache, Place};

/// The content of a metadata block has at most this many bytes.
pub(super) const BLOCK: usize = 8192;
/// In the header of a metadata block: it is stored as it is.
const STORED_PLAIN: u16 = 0x8000;
/// In the size of a block of file data: the same.
const DATA_STORED_PLAIN: u32 = 1 << 24;
/// An entry of the table of fragments, in bytes.
const FRAGMENT_LENGTH: usize = 16;

/// How much unpacked content an image keeps in memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Inodes, names and other metadata.
    pub metadata: usize,
    /// Content of files. One block of the image finds place in any case, that is 1 MiB at most.
    pub data: usize,
}

/// For one reader that goes through an image once.
impl Default for Budget {
    fn default() -> Self {
        Self { metadata: 2 << 20, data: 1 << 20 }
    }
}

/// An image as what its blocks hold.
pub(crate) struct Blocks {
    reader: Box<dyn ReadAt>,
    window: Window,
    pub(super) sb: Superblock,
    compression: Compression,
    metadata: Cache,
    data: Cache,
}

impl Blocks {
    /// Those of the image in `window` of `reader`.
    pub(super) fn open(reader: Box<dyn ReadAt>, window: Window, budget: Budget) -> Result<Self, SquashfsError> {
        let mut head = vec![0; SUPERBLOCK_SIZE.min(usize::try_from(window.size).unwrap_or(SUPERBLOCK_SIZE))];
        read_exact_at(&*reader, &mut head, window.offset)?;
        let sb = Superblock::from_bytes(&head, window.size)?;
        let compression = Compression::from_code(sb.compression.get())?;
        let data = Cache::new(budget.data, usize::try_from(sb.block_size.get()).unwrap_or(0));
        Ok(Self { reader, window, sb, compression, metadata: Cache::new(budget.metadata, BLOCK), data })
    }

    /// Fills `buf` from `offset` within the image.
    pub(super) fn read_into(&self, buf: &mut [u8], offset: u64) -> Result<(), SquashfsError> {
        let end = offset.checked_add(buf.len() as u64).filter(|end| self.sb.bytes_used >= *end);
        let start = end.and_then(|_| self.window.offset.checked_add(offset));
        let start = start.ok_or(SquashfsError::Corrupt("something lies outside the image"))?;
        Ok(read_exact_at(&*self.reader, buf, start)?)
    }

    /// The length of a whole block of file data.
    pub(super) fn whole(&self) -> usize {
        usize::try_from(self.sb.block_size.get()).unwrap_or(0)
    }

    /// The block of file data at `at`, which has `length` bytes of content; `size` says how it is stored.
    pub(super) fn data(&self, at: u64, size: u32, length: usize) -> Result<Arc<Block>, SquashfsError> {
        let block = self.data.get((at, size), length, &|| self.unpack(at, size, length))?;
        match block.bytes.len() == length {
            true => Ok(block),
            false => Err(SquashfsError::Corrupt("a block has the wrong length")),
        }
    }

    /// Unpacks a block for whoever will ask for it.
    pub(super) fn prepare(&self, at: u64, size: u32, length: usize) {
        self.data.prepare((at, size), length, &|| self.unpack(at, size, length));
    }

    /// As [`Blocks::data`], for who goes through a file once: nothing is kept.
    pub(super) fn unpack(&self, at: u64, size: u32, length: usize) -> Result<Block, SquashfsError> {
        let block = self.unpack_up_to(at, size, length)?;
        match block.bytes.len() == length {
            true => Ok(block),
            false => Err(SquashfsError::Corrupt("a block has the wrong length")),
        }
    }

    fn unpack_up_to(&self, at: u64, size: u32, most: usize) -> Result<Block, SquashfsError> {
        let stored = stored(size);
        if stored == 0 || stored > self.sb.block_size.get() {
            return Err(SquashfsError::Corrupt("a block has an impossible length"));
        }
        let (mut bytes, length) = (self.data.buffer(most), usize::try_from(stored).unwrap_or(0));
        if size & DATA_STORED_PLAIN == 0 {
            bytes = with_packed(length, |packed| {
                self.read_into(packed, at)?;
                self.compression.expand(packed, most, bytes)
            })?;
        } else {
            bytes.resize(length, 0);
            self.read_into(&mut bytes, at)?;
        }
        Ok(Block { bytes, next: at + u64::from(stored) })
    }

    /// The content of fragment `number`, in which the ends of files lie together.
    pub(super) fn fragment(&self, number: u32) -> Result<Arc<Block>, SquashfsError> {
        let (at, size) = self.fragment_place(number)?;
        self.data.get((at, size), self.whole(), &|| self.unpack_up_to(at, size, self.whole()))
    }

    /// Unpacks a fragment for whoever will ask for it.
    pub(super) fn prepare_fragment(&self, number: u32) {
        if let Ok((at, size)) = self.fragment_place(number) {
            self.data.prepare((at, size), self.whole(), &|| self.unpack_up_to(at, size, self.whole()));
        }
    }

    fn fragment_place(&self, number: u32) -> Result<Place, SquashfsError> {
        if number >= self.sb.fragments.get() {
            return Err(SquashfsError::Corrupt("a file has a fragment that does not exist"));
        }
        let at = u64::from(number) * FRAGMENT_LENGTH as u64;
        let record: [u8; FRAGMENT_LENGTH] = self.table(self.sb.fragment_table_start.get(), at)?.array()?;
        Ok((u64::from_le_bytes(field(&record, 0)), u32::from_le_bytes(field(&record, 8))))
    }

    /// A cursor at `at` within the records that the list of block positions at `list` leads to.
    pub(super) fn table(&self, list: u64, at: u64) -> Result<Cursor<'_>, SquashfsError> {
        let block = at / BLOCK as u64;
        let entry = list.checked_add(block * 8).ok_or(SquashfsError::Corrupt("a table lies outside the image"))?;
        let mut start = [0; 8];
        self.read_into(&mut start, entry)?;
        self.cursor(u64::from_le_bytes(start), Reference(at % BLOCK as u64))
    }

    /// The metadata block that begins at `at`.
    fn metadata(&self, at: u64) -> Result<Arc<Block>, SquashfsError> {
        self.metadata.get((at, 0), BLOCK, &|| self.unpack_metadata(at))
    }

    fn unpack_metadata(&self, at: u64) -> Result<Block, SquashfsError> {
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
            bytes = self.compression.expand(&bytes, BLOCK, Vec::new())?;
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
        self.cursor_at((block, place.within()))
    }

    /// A cursor where another one was.
    pub(super) fn cursor_at(&self, (start, within): Position) -> Result<Cursor<'_>, SquashfsError> {
        let cursor = Cursor { blocks: self, start, block: self.metadata(start)?, at: within };
        match cursor.at > cursor.block.bytes.len() {
            true => Err(SquashfsError::Corrupt("a reference points behind its block")),
            false => Ok(cursor),
        }
    }
}

thread_local! {
    /// Where a thread reads packed blocks; as large as the largest that it has met.
    static PACKED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Lets `work` have this thread's room for `length` bytes.
fn with_packed<T>(length: usize, work: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut room = PACKED.take();
    if room.len() < length {
        room.resize(length, 0);
    }
    let result = work(room.get_mut(..length).unwrap_or_default());
    PACKED.set(room);
    result
}

/// The bytes that a block of file data takes in the image.
pub(super) fn stored(size: u32) -> u32 {
    size & !DATA_STORED_PLAIN
}

/// Where a metadata block begins, and a place in its content.
pub(crate) type Position = (u64, usize);

/// A place in a run of metadata blocks.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    blocks: &'a Blocks,
    start: u64,
    block: Arc<Block>,
    at: usize,
}

impl Cursor<'_> {
    /// Where it is.
    pub(super) fn position(&self) -> Position {
        (self.start, self.at)
    }

    /// Fills `buf`, over the ends of blocks.
    pub(super) fn read(&mut self, mut buf: &mut [u8]) -> Result<(), SquashfsError> {
        while !buf.is_empty() {
            self.go_on()?;
            let rest = self.block.bytes.get(self.at..).unwrap_or_default();
            let length = rest.len().min(buf.len());
            let (now, later) = buf.split_at_mut(length);
            now.copy_from_slice(rest.get(..length).unwrap_or_default());
            self.at += length;
            buf = later;
        }
        Ok(())
    }

    /// Leaves out `length` bytes.
    pub(super) fn skip(&mut self, mut length: usize) -> Result<(), SquashfsError> {
        while length > 0 {
            self.go_on()?;
            let step = length.min(self.block.bytes.len() - self.at);
            (self.at, length) = (self.at + step, length - step);
        }
        Ok(())
    }

    /// Enters the next block at the end of one.
    fn go_on(&mut self) -> Result<(), SquashfsError> {
        if self.at >= self.block.bytes.len() {
            self.start = self.block.next;
            self.block = self.blocks.metadata(self.start)?;
            self.at = 0;
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
