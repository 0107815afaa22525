//! From a file's own block numbers to those of the disk: ext2/3 block maps and ext4 extent trees.

use crate::bytes::{u16_at, u32_at};
use crate::ext::error::ExtError;
use crate::ext::fs::Fs;
use crate::ext::inode::{BLOCK_AT, Inode, flag};
use crate::source::ReadAt;

const DIRECT: u64 = 12;
const EXTENT_MAGIC: u16 = 0xF30A;
pub(crate) const EXTENT_RECORD: usize = 12;
const MAX_EXTENT_DEPTH: u16 = 5;
/// An extent longer than this is allocated, but not written: it reads as zeros.
pub(crate) const LONGEST_WRITTEN: u16 = 32768;

/// The disk block that holds block `logical` of a file; `None` for a hole.
pub(crate) fn physical_block<R: ReadAt + ?Sized>(
    fs: &Fs<'_, R>,
    inode: &Inode,
    logical: u64,
) -> Result<Option<u64>, ExtError> {
    let block =
        if inode.has(flag::EXTENTS) { from_extents(fs, inode, logical)? } else { from_block_map(fs, inode, logical)? };
    Ok((block != 0).then_some(block))
}

/// Where the number of block `logical` stands that [`physical_block`] finds for inode `ino`, in bytes within the file system. `None`
/// for a hole, and where it is no number of its own but part of an extent.
pub fn pointer_offset<R: ReadAt + ?Sized>(
    fs: &Fs<'_, R>,
    ino: u32,
    inode: &Inode,
    logical: u64,
) -> Result<Option<u64>, ExtError> {
    let path = block_map_path(logical, u64::from(fs.sb.block_size / 4)).filter(|_| !inode.has(flag::EXTENTS));
    let Some((slot, path)) = path else { return Ok(None) };
    let mut at = fs.inode_offset(ino)? + BLOCK_AT + slot as u64 * 4;
    for index in path {
        let block = u64::from(u32_at(&fs.read(at, 4)?, 0).unwrap_or(0));
        if block == 0 {
            return Ok(None);
        }
        at = fs.sb.block_offset(block, "an indirect block")? + index * 4;
    }
    Ok(Some(at))
}

fn from_block_map<R: ReadAt + ?Sized>(fs: &Fs<'_, R>, inode: &Inode, logical: u64) -> Result<u64, ExtError> {
    let Some((slot, path)) = block_map_path(logical, u64::from(fs.sb.block_size / 4)) else {
        return Err(ExtError::corrupt(format!("a file has no block {logical}")));
    };
    let mut block = u64::from(u32_at(&inode.block, slot * 4).unwrap_or(0));
    for index in path {
        if block == 0 {
            return Ok(0);
        }
        let offset = fs.sb.block_offset(block, "an indirect block")?;
        let pointer = fs.read(offset + index * 4, 4)?;
        block = u64::from(u32_at(&pointer, 0).unwrap_or(0));
    }
    Ok(block)
}

/// The slot in the inode, then the index in each indirect block on the way.
fn block_map_path(logical: u64, per_block: u64) -> Option<(usize, Vec<u64>)> {
    if logical < DIRECT {
        return Some((usize::try_from(logical).ok()?, Vec::new()));
    }
    let mut rest = logical - DIRECT;
    let mut span = per_block;
    for level in 1..=3_u32 {
        if rest < span {
            let path = (0..level).rev().map(|l| rest / per_block.pow(l) % per_block).collect();
            return Some((11 + level as usize, path));
        }
        rest -= span;
        span = span.checked_mul(per_block)?;
    }
    None
}

fn from_extents<R: ReadAt + ?Sized>(fs: &Fs<'_, R>, inode: &Inode, logical: u64) -> Result<u64, ExtError> {
    let mut node = inode.block.to_vec();
    let mut depth = ExtentNode::depth(&node)?;
    while depth > 0 {
        let Some(child) = ExtentNode::child(&node, logical)? else { return Ok(0) };
        node = fs.read_block(child, "an extent index")?;
        // Each level must lie exactly one below its parent, or a loop could keep us here.
        let next = ExtentNode::depth(&node)?;
        if next + 1 != depth {
            return Err(ExtError::corrupt("an extent tree has levels out of order"));
        }
        depth = next;
    }
    ExtentNode::leaf(&node, logical)
}

/// One node of an extent tree, as bytes with the header checked.
pub(crate) struct ExtentNode;

impl ExtentNode {
    pub(crate) fn depth(node: &[u8]) -> Result<u16, ExtError> {
        let (magic, depth) = (u16_at(node, 0), u16_at(node, 6));
        match (magic, depth) {
            (Some(EXTENT_MAGIC), Some(depth)) if depth <= MAX_EXTENT_DEPTH => Ok(depth),
            _ => Err(ExtError::corrupt("an extent tree has a bad header")),
        }
    }

    pub(crate) fn records(node: &[u8]) -> Result<impl DoubleEndedIterator<Item = &[u8]>, ExtError> {
        let count = usize::from(u16_at(node, 2).unwrap_or(0));
        let body = node.get(EXTENT_RECORD..).unwrap_or_default();
        if count > body.len() / EXTENT_RECORD {
            return Err(ExtError::corrupt("an extent tree has more entries than room"));
        }
        Ok(body.chunks_exact(EXTENT_RECORD).take(count))
    }

    /// The child that covers `logical`: the last one that begins at or before it.
    fn child(node: &[u8], logical: u64) -> Result<Option<u64>, ExtError> {
        let begins = |record: &&[u8]| u32_at(record, 0).is_some_and(|first| u64::from(first) <= logical);
        let found = Self::records(node)?.rev().find(begins);
        Ok(found.and_then(|r| Some(u64::from(u32_at(r, 4)?) | u64::from(u16_at(r, 8)?) << 32)))
    }

    fn leaf(node: &[u8], logical: u64) -> Result<u64, ExtError> {
        let found = Self::records(node)?.find_map(|record| Self::within(record, logical));
        Ok(found.unwrap_or(0))
    }

    /// How many blocks a record of a leaf takes, written or not.
    pub(crate) fn taken(record: &[u8]) -> u64 {
        let length = u16_at(record, 4).unwrap_or(0);
        if length > LONGEST_WRITTEN { (length - LONGEST_WRITTEN).into() } else { length.into() }
    }

    fn within(record: &[u8], logical: u64) -> Option<u64> {
        let first = u64::from(u32_at(record, 0)?);
        let length = u16_at(record, 4)?;
        let start = u64::from(u32_at(record, 8)?) | u64::from(u16_at(record, 6)?) << 32;
        let inside = length <= LONGEST_WRITTEN && logical >= first && logical - first < u64::from(length);
        inside.then(|| start + (logical - first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_maps_have_three_levels() {
        assert_eq!(block_map_path(11, 256), Some((11, vec![])));
        assert_eq!(block_map_path(12, 256), Some((12, vec![0])));
        assert_eq!(block_map_path(12 + 256, 256), Some((13, vec![0, 0])));
        assert_eq!(block_map_path(12 + 256 + 257, 256), Some((13, vec![1, 1])));
        assert_eq!(block_map_path(12 + 256 + 65536, 256), Some((14, vec![0, 0, 0])));
        assert_eq!(block_map_path(12 + 256 + 65536 + (1 << 24), 256), None);
    }

    #[test]
    fn an_extent_with_an_absurd_count_is_damage() {
        let mut node = vec![0; 60];
        node[..2].copy_from_slice(&EXTENT_MAGIC.to_le_bytes());
        node[2..4].copy_from_slice(&5_u16.to_le_bytes());
        assert!(ExtentNode::leaf(&node, 0).is_err());
    }
}
