//! The index of a directory (htree): which block has the names of which hashes. Its root lies in the first block, behind `..`; there may be
//! one level of nodes between the root and the blocks of names. To who does not know of it, nodes are blocks without names.

use super::blocks::{self, Block};
use super::hash::Hasher;
use super::record::put_length;
use crate::error::{Error, Result};
use crate::inode::Node;
use crate::store::Handle;

/// Where `..` begins in the first block.
pub(super) const DOTDOT_AT: usize = 12;
/// Where the root's information begins: 4 zeros, the hash version, its own length, the levels, flags.
const INFO_AT: usize = 24;
const INFO_LENGTH: u8 = 8;
const ROOT_ENTRIES_AT: usize = INFO_AT + INFO_LENGTH as usize;
const NODE_ENTRIES_AT: usize = 8;
/// Hash and block.
const ENTRY: usize = 8;
/// The other bits of an entry's block may get a meaning one day.
const BLOCK_MASK: u32 = 0x0fff_ffff;
/// Levels of nodes between root and names; more come with the feature `large_dir` only.
const MOST_LEVELS: u8 = 1;

/// Root or node: entries in the order of their hashes. The first has none, but the counts in its place.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) block: Block,
    entries_at: usize,
    pub(super) count: usize,
    pub(super) limit: usize,
    /// The entry that the path goes through.
    pub(super) at: usize,
}

/// The way from the root to a block of names.
#[derive(Debug, Clone)]
pub(super) struct Path {
    pub(super) hasher: Hasher,
    /// The root, and a node where there is that level.
    pub(super) tables: Vec<Table>,
}

impl Table {
    /// `None` when its counts are impossible.
    fn of(block: Block, entries_at: usize) -> Option<Self> {
        let &[l0, l1, c0, c1] = block.bytes.get(entries_at..)?.first_chunk()?;
        let (limit, count) = (u16::from_le_bytes([l0, l1]).into(), u16::from_le_bytes([c0, c1]).into());
        let is_sound = limit == limit_of(block.bytes.len(), entries_at) && (1..=limit).contains(&count);
        is_sound.then_some(Self { block, entries_at, count, limit, at: 0 })
    }

    fn word(&self, at: usize) -> u32 {
        let bytes = self.block.bytes.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    /// The least hash behind an entry. An odd one says that the block before has names of the same hash, too.
    pub(super) fn hash(&self, entry: usize) -> u32 {
        if entry == 0 { 0 } else { self.word(self.entries_at + entry * ENTRY) }
    }

    /// The directory's block behind an entry.
    fn below(&self, entry: usize) -> u32 {
        self.word(self.entries_at + entry * ENTRY + 4) & BLOCK_MASK
    }

    /// Goes to the last entry whose hash is not above this one.
    fn seek(&mut self, hash: u32) {
        let (mut low, mut high) = (1, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.hash(middle) > hash {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        self.at = low - 1;
    }

    pub(super) fn is_full(&self) -> bool {
        self.count >= self.limit
    }

    /// Puts an entry behind the one that the path goes through.
    pub(super) fn insert(&self, handle: &mut Handle<'_>, hash: u32, block: u64) -> Result<()> {
        let bytes = handle.change(self.block.physical)?;
        let (place, end) = (self.entries_at + (self.at + 1) * ENTRY, self.entries_at + self.count * ENTRY);
        let entries = bytes.get_mut(place..end + ENTRY).filter(|_| !self.is_full()).ok_or_else(broken)?;
        entries.copy_within(..end - place, ENTRY);
        put_entry(bytes, place, hash, block)?;
        put_counts(bytes, self.entries_at, self.count + 1)
    }

    /// Makes a new node of the entries from `from` on, and returns the least hash that is behind it.
    pub(super) fn copy_to_node(&self, handle: &mut Handle<'_>, from: usize, node: u64) -> Result<u32> {
        let start = self.entries_at + from * ENTRY;
        let entries = self.block.bytes.get(start..self.entries_at + self.count * ENTRY).ok_or_else(broken)?;
        let bytes = handle.change(node)?;
        let length = bytes.len();
        put_length(bytes, 0, length)?;
        let place = bytes.get_mut(NODE_ENTRIES_AT..NODE_ENTRIES_AT + entries.len()).ok_or_else(broken)?;
        place.copy_from_slice(entries);
        put_counts(bytes, NODE_ENTRIES_AT, self.count - from)?;
        Ok(self.hash(from))
    }

    /// Leaves the entries before `count`.
    pub(super) fn cut(&self, handle: &mut Handle<'_>, count: usize) -> Result<()> {
        put_counts(handle.change(self.block.physical)?, self.entries_at, count)
    }

    /// Leaves one entry in a root, which leads to a node from now on.
    pub(super) fn deepen(&self, handle: &mut Handle<'_>, node: u64) -> Result<()> {
        let bytes = handle.change(self.block.physical)?;
        put_entry(bytes, self.entries_at, 0, node)?;
        put_counts(bytes, self.entries_at, 1)?;
        let levels = bytes.get_mut(INFO_AT + 6).ok_or_else(broken)?;
        *levels += 1;
        Ok(())
    }
}

impl Path {
    /// The way to the first block of names that may have this hash; `hash` gives it. `None` when the index is broken, or of a kind that is
    /// not known: then the directory is a list of names.
    pub(super) fn find(handle: &mut Handle<'_>, dir: &Node, hash: impl FnOnce(&Hasher) -> u32) -> Result<Option<Self>> {
        let root = blocks::read(handle, dir, 0)?;
        let info = root.bytes.get(INFO_AT..).and_then(|rest| rest.first_chunk::<8>());
        let Some(&[_, _, _, _, version, INFO_LENGTH, levels @ 0..=MOST_LEVELS, flags]) = info else { return Ok(None) };
        let Some(hasher) = Hasher::of(&handle.geometry().sb, version).filter(|_| flags & 1 == 0) else {
            return Ok(None);
        };
        let Some(mut table) = Table::of(root, ROOT_ENTRIES_AT) else { return Ok(None) };
        let hash = hash(&hasher);
        table.seek(hash);
        let mut path = Self { hasher, tables: vec![table] };
        if levels != 0 {
            let Some(mut node) = path.node_below(handle, dir)? else { return Ok(None) };
            node.seek(hash);
            path.tables.push(node);
        }
        Ok(Some(path).filter(|path| path.leaf().is_some()))
    }

    /// The node behind the root's entry; `None` when there is none.
    fn node_below(&self, handle: &mut Handle<'_>, dir: &Node) -> Result<Option<Table>> {
        let Some(root) = self.tables.first() else { return Ok(None) };
        let logical = u64::from(root.below(root.at));
        if logical == 0 || logical >= blocks::count(handle, dir)? {
            return Ok(None);
        }
        Ok(Table::of(blocks::read(handle, dir, logical)?, NODE_ENTRIES_AT))
    }

    /// The directory's block at its end, with names; `None` when that is one of the index.
    pub(super) fn leaf(&self) -> Option<u64> {
        let last = self.tables.last()?;
        let logical = u64::from(last.below(last.at));
        self.tables.iter().all(|table| table.block.logical != logical).then_some(logical)
    }

    /// Reads that block.
    pub(super) fn read(&self, handle: &mut Handle<'_>, dir: &Node) -> Result<Block> {
        blocks::read(handle, dir, self.leaf().ok_or_else(broken)?)
    }

    /// Goes on to the next block of names and returns its least hash; `None` at the end.
    pub(super) fn next(&mut self, handle: &mut Handle<'_>, dir: &Node) -> Result<Option<u32>> {
        let hash = self.next_hash();
        let Some(last) = self.tables.last_mut() else { return Ok(None) };
        last.at += 1;
        if last.at < last.count {
            return Ok(hash);
        }
        let [root, _] = self.tables.as_mut_slice() else { return Ok(None) };
        root.at += 1;
        if root.at >= root.count {
            return Ok(None);
        }
        let node = self.node_below(handle, dir)?.ok_or_else(broken)?;
        self.tables.pop();
        self.tables.push(node);
        Ok(hash)
    }

    /// The least hash of the block of names at its end.
    pub(super) fn hash(&self) -> u32 {
        self.tables.iter().rev().find(|table| table.at > 0).map_or(0, |table| table.hash(table.at))
    }

    /// The least hash of the next block of names; `None` at the end.
    pub(super) fn next_hash(&self) -> Option<u32> {
        let next = |table: &Table| (table.at + 1 < table.count).then(|| table.hash(table.at + 1));
        self.tables.iter().rev().find_map(next)
    }
}

/// Writes the root of an index with one block of names behind it into the first block, which has `.` and `..` and nothing else.
pub(super) fn put_root(bytes: &mut [u8], version: u8, names: u64) -> Result<()> {
    put_length(bytes, DOTDOT_AT, bytes.len() - DOTDOT_AT)?;
    let info = bytes.get_mut(INFO_AT..ROOT_ENTRIES_AT).ok_or_else(broken)?;
    info.copy_from_slice(&[0, 0, 0, 0, version, INFO_LENGTH, 0, 0]);
    put_entry(bytes, ROOT_ENTRIES_AT, 0, names)?;
    put_counts(bytes, ROOT_ENTRIES_AT, 1)
}

fn limit_of(block_size: usize, entries_at: usize) -> usize {
    block_size.saturating_sub(entries_at) / ENTRY
}

fn put_counts(bytes: &mut [u8], entries_at: usize, count: usize) -> Result<()> {
    let number = |number: usize| u16::try_from(number).map_err(|_| broken());
    let (limit, count) = (number(limit_of(bytes.len(), entries_at))?, number(count)?);
    let place = bytes.get_mut(entries_at..entries_at + 4).ok_or_else(broken)?;
    let ([l0, l1], [c0, c1]) = (limit.to_le_bytes(), count.to_le_bytes());
    place.copy_from_slice(&[l0, l1, c0, c1]);
    Ok(())
}

fn put_entry(bytes: &mut [u8], at: usize, hash: u32, block: u64) -> Result<()> {
    let block = u32::try_from(block).ok().filter(|block| *block <= BLOCK_MASK).ok_or_else(broken)?;
    let place = bytes.get_mut(at..at + ENTRY).ok_or_else(broken)?;
    let (hash, block) = (hash.to_le_bytes(), block.to_le_bytes());
    for (place, byte) in place.iter_mut().zip(hash.iter().chain(&block)) {
        *place = *byte;
    }
    Ok(())
}

pub(super) fn broken() -> Error {
    Error::corrupt("the index of a directory is broken")
}
