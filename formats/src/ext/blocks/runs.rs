//! Where the content of a file lies: runs of neighbouring blocks, in order, so that it is read in large pieces.
//!
//! Looking blocks up one by one, as [`super::map`] does for the few that a probe needs, would read every indirect block a
//! thousand times.

use super::map::{EXTENT_RECORD, ExtentNode, LONGEST_WRITTEN};
use crate::bytes::{u16_at, u32_at};
use crate::ext::error::ExtError;
use crate::ext::fs::Fs;
use crate::ext::inode::{Inode, flag};
use crate::source::ReadAt;

/// Neighbouring blocks of a file that are neighbours on disk too. What lies between two runs is a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// The first block, counted within the file.
    pub(crate) logical: u64,
    /// The first block, counted within the file system.
    pub(crate) physical: u64,
    /// How many.
    pub(crate) blocks: u64,
}

/// The runs of a file up to block `end`, by rising position, and how many blocks it has in all, those that map others included.
pub(crate) fn runs<R: ReadAt + ?Sized>(fs: &Fs<'_, R>, inode: &Inode, end: u64) -> Result<(Vec<Run>, u64), ExtError> {
    if inode.has(flag::INLINE_DATA) {
        return Err(ExtError::unsupported("inline_data for a file"));
    }
    if end > addressable(fs, inode) {
        return Err(ExtError::corrupt("a file is longer than any file can be"));
    }
    let mut collector = Collector { fs, end, runs: Vec::new(), mapped: 0, steps: 0 };
    if inode.has(flag::EXTENTS) {
        let depth = ExtentNode::depth(&inode.block)?;
        collector.extents(&inode.block, depth)?;
    } else {
        collector.block_map(inode)?;
    }
    Ok((collector.runs, collector.mapped + collector.steps))
}

/// The blocks that a file can have at most, holes included.
fn addressable<R: ReadAt + ?Sized>(fs: &Fs<'_, R>, inode: &Inode) -> u64 {
    let pointers = u64::from(fs.sb.block_size / 4);
    if inode.has(flag::EXTENTS) { 1 << 32 } else { 12 + pointers + pointers.pow(2) + pointers.pow(3) }
}

struct Collector<'a, 'b, R: ?Sized> {
    fs: &'a Fs<'b, R>,
    end: u64,
    runs: Vec<Run>,
    mapped: u64,
    steps: u64,
}

impl<R: ReadAt + ?Sized> Collector<'_, '_, R> {
    /// The twelve direct blocks, then trees of one, two and three levels of indirect blocks.
    fn block_map(&mut self, inode: &Inode) -> Result<(), ExtError> {
        let pointer = |slot: usize| u32_at(&inode.block, slot * 4).unwrap_or(0);
        let mut logical = 0;
        for slot in 0..12 {
            self.add(logical, pointer(slot).into(), 1)?;
            logical += 1;
        }
        for level in 1..=3_u32 {
            self.indirect(pointer(11 + level as usize), level, logical)?;
            logical = logical.saturating_add(self.span(level));
        }
        Ok(())
    }

    /// Blocks of a file below one pointer that stands `level` levels above them.
    fn span(&self, level: u32) -> u64 {
        u64::from(self.fs.sb.block_size / 4).saturating_pow(level)
    }

    fn indirect(&mut self, block: u32, level: u32, logical: u64) -> Result<(), ExtError> {
        if block == 0 || logical >= self.end {
            return Ok(());
        }
        self.step()?;
        let node = self.fs.read_block(block.into(), "an indirect block")?;
        let below = self.span(level - 1);
        let pointers = node.as_chunks::<4>().0.iter().map(|raw| u32::from_le_bytes(*raw));
        for (child, logical) in pointers.zip((0..).map(|i: u64| logical.saturating_add(i.saturating_mul(below)))) {
            match level {
                1 => self.add(logical, child.into(), 1)?,
                _ => self.indirect(child, level - 1, logical)?,
            }
        }
        Ok(())
    }

    fn extents(&mut self, node: &[u8], depth: u16) -> Result<(), ExtError> {
        for record in ExtentNode::records(node)? {
            if depth == 0 {
                self.extent(record)?;
                continue;
            }
            self.step()?;
            let child = u64::from(u32_at(record, 4).unwrap_or(0)) | u64::from(u16_at(record, 8).unwrap_or(0)) << 32;
            let node = self.fs.read_block(child, "an extent index")?;
            if ExtentNode::depth(&node)? + 1 != depth {
                return Err(ExtError::corrupt("an extent tree has levels out of order"));
            }
            self.extents(&node, depth - 1)?;
        }
        Ok(())
    }

    fn extent(&mut self, record: &[u8]) -> Result<(), ExtError> {
        debug_assert_eq!(record.len(), EXTENT_RECORD);
        let word = |at| u32_at(record, at).unwrap_or(0);
        let half = |at| u16_at(record, at).unwrap_or(0);
        let physical = u64::from(word(8)) | u64::from(half(6)) << 32;
        // What is allocated but not written reads as zeros, like a hole.
        if half(4) <= LONGEST_WRITTEN { self.add(word(0).into(), physical, half(4).into()) } else { Ok(()) }
    }

    fn add(&mut self, logical: u64, physical: u64, blocks: u64) -> Result<(), ExtError> {
        let blocks = blocks.min(self.end.saturating_sub(logical));
        if physical == 0 || blocks == 0 {
            return Ok(());
        }
        self.check(logical, physical, blocks)?;
        match self.runs.last_mut() {
            Some(last) if last.logical + last.blocks == logical && last.physical + last.blocks == physical => {
                last.blocks += blocks;
            }
            _ => self.runs.push(Run { logical, physical, blocks }),
        }
        Ok(())
    }

    /// No block belongs to a file twice, so a file that claims more blocks than there are goes in circles.
    fn check(&mut self, logical: u64, physical: u64, blocks: u64) -> Result<(), ExtError> {
        self.mapped += blocks;
        let last = self.fs.sb.blocks_count.checked_sub(blocks);
        if self.mapped > self.fs.sb.blocks_count || last.is_none_or(|last| physical > last) {
            return Err(ExtError::corrupt("a file has blocks that do not exist"));
        }
        match self.runs.last() {
            Some(before) if before.logical + before.blocks > logical => {
                Err(ExtError::corrupt("an extent tree is out of order"))
            }
            _ => Ok(()),
        }
    }

    fn step(&mut self) -> Result<(), ExtError> {
        self.steps += 1;
        let most = self.fs.sb.blocks_count;
        if self.steps > most { Err(ExtError::corrupt("a file's block map goes in circles")) } else { Ok(()) }
    }
}
