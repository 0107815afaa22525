//! Files made of few bytes: an ext image without its empty blocks, and a file that seems longer than it is.
//!
//! A file system of some megabytes consists of zeros but for a few dozen blocks. A fuzzer that is given only these changes what
//! matters with every try.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use condatainer_formats::ext::ReadAt;

const BLOCK: usize = 1024;
/// Index, then content.
const RECORD: usize = 4 + BLOCK;
/// No image seems larger: the time of one execution is bounded by the size of the image.
const MOST_BLOCKS: u32 = 8 * 1024;

/// An image as the list of its blocks that are not empty: its length in blocks, then for each the index and the content.
pub struct Sparse<'a> {
    pub size: u64,
    blocks: Vec<(u32, &'a [u8])>,
    read: AtomicU64,
}

impl<'a> Sparse<'a> {
    /// From any bytes. Of two blocks with one index the later one counts.
    pub fn decode(data: &'a [u8]) -> Self {
        let (length, rest) = data.split_at(data.len().min(4));
        let mut blocks: Vec<_> = rest.chunks(RECORD).filter(|record| record.len() > 4).map(split).collect();
        blocks.reverse();
        blocks.sort_by_key(|(index, _)| *index);
        blocks.dedup_by_key(|(index, _)| *index);
        let size = u64::from(number(length) % (MOST_BLOCKS + 1)) * BLOCK as u64;
        Self { size, blocks, read: AtomicU64::new(0) }
    }

    /// The bytes from which [`Sparse::decode`] makes `image` again, where it is no longer than it may be.
    pub fn encode(image: &[u8]) -> Vec<u8> {
        let length = u32::try_from(image.len() / BLOCK).unwrap();
        assert!(length <= MOST_BLOCKS, "{length} blocks");
        let mut data = length.to_le_bytes().to_vec();
        for (index, block) in image.chunks(BLOCK).enumerate().filter(|(_, block)| block.iter().any(|&b| b != 0)) {
            data.extend((index as u32).to_le_bytes());
            data.extend(block);
        }
        data
    }

    /// Its blocks that are not empty, by their index; those that lie in it.
    pub fn blocks(&self) -> impl Iterator<Item = (u64, &'a [u8])> {
        let most = self.size / BLOCK as u64;
        self.blocks.iter().map(|(index, content)| (u64::from(*index), *content)).filter(move |(index, _)| *index < most)
    }

    /// Forgets and tells how many bytes were read.
    pub fn take_read(&self) -> u64 {
        self.read.swap(0, Ordering::Relaxed)
    }

    fn block(&self, index: u64) -> &'a [u8] {
        let wanted = |(index, _): &(u32, _)| u64::from(*index);
        self.blocks.binary_search_by_key(&index, wanted).map_or(&[], |found| self.blocks[found].1)
    }
}

fn split(record: &[u8]) -> (u32, &[u8]) {
    let (index, content) = record.split_at(4);
    (number(index), content)
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte))
}

impl ReadAt for Sparse<'_> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let count = self.size.saturating_sub(offset).min(buf.len() as u64) as usize;
        let mut done = 0;
        while done < count {
            let at = offset + done as u64;
            let (block, within) = (self.block(at / BLOCK as u64), at as usize % BLOCK);
            let length = (BLOCK - within).min(count - done);
            let known = block.get(within..).unwrap_or_default();
            let known = &known[..known.len().min(length)];
            buf[done..done + known.len()].copy_from_slice(known);
            buf[done + known.len()..done + length].fill(0);
            done += length;
        }
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// A file that begins with some bytes and goes on with zeros.
pub struct Padded {
    pub size: u64,
    bytes: Vec<u8>,
}

impl Padded {
    /// How much follows is told by the last two bytes, so that every size can be had.
    pub fn new(bytes: Vec<u8>) -> Self {
        let more = match bytes.as_slice() {
            [.., value, shift] => u64::from(*value) << (shift % 56),
            _ => 0,
        };
        Self { size: bytes.len() as u64 + more, bytes }
    }
}

impl ReadAt for Padded {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let count = self.size.saturating_sub(offset).min(buf.len() as u64) as usize;
        let known = self.bytes.read_at(&mut buf[..count], offset)?;
        buf[known..count].fill(0);
        Ok(count)
    }
}
