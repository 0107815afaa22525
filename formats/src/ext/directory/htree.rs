//! Indexed directories (`dir_index`): from a name's hash to the one block that can hold it.

use super::blocks::{block_count, read_block};
use super::dirhash::{self, Hash};
use super::entry::pick;
use crate::bytes::{u8_at, u16_at, u32_at};
use crate::ext::error::ExtError;
use crate::ext::fs::Fs;
use crate::ext::inode::Inode;

/// `large_dir` allows three levels of index blocks.
const MAX_LEVELS: u8 = 3;
/// A run of names with one hash may go on in the next leaf; longer runs are left to the linear scan.
const MAX_COLLISIONS: usize = 4;
const ROOT_INFO_AT: usize = 0x18;
const NODE_ENTRIES_AT: usize = 8;

/// The inode behind each of `names`; `None` where the index does not lead to the name, which proves nothing by itself.
pub(crate) fn lookup<const N: usize>(
    fs: &Fs<'_>,
    dir: &Inode,
    names: [&[u8]; N],
) -> Result<[Option<u32>; N], ExtError> {
    let mut found = [None; N];
    let (_, root) = read_block(fs, dir, 0)?;
    let Some(index) = Index::from_root(&root) else { return Ok(found) };
    for (name, slot) in names.iter().zip(&mut found) {
        let hash = dirhash::hash(index.hash, fs.sb.hash_seed, name);
        *slot = find(fs, dir, &root, &index, hash, name)?;
    }
    Ok(found)
}

/// What the first block says about the index.
struct Index {
    hash: Hash,
    levels: u8,
    entries_at: usize,
}

impl Index {
    fn from_root(root: &[u8]) -> Option<Self> {
        let hash = Hash::from_version(u8_at(root, ROOT_INFO_AT + 4)?)?;
        let length = u8_at(root, ROOT_INFO_AT + 5)?;
        let levels = u8_at(root, ROOT_INFO_AT + 6)?;
        let sound = length == 8 && levels < MAX_LEVELS;
        sound.then_some(Self { hash, levels, entries_at: ROOT_INFO_AT + usize::from(length) })
    }
}

fn find(fs: &Fs<'_>, dir: &Inode, root: &[u8], index: &Index, hash: u32, name: &[u8]) -> Result<Option<u32>, ExtError> {
    let mut node = root.to_vec();
    let mut at = index.entries_at;
    for _ in 0..index.levels {
        let child = children(&node, at, hash).first().copied();
        let Some(next) = read_within(fs, dir, child)? else { return Ok(None) };
        (node, at) = (next, NODE_ENTRIES_AT);
    }
    for block in children(&node, at, hash).into_iter().take(MAX_COLLISIONS) {
        let Some(leaf) = read_within(fs, dir, Some(block))? else { continue };
        let mut found = [None];
        pick(&leaf, &fs.sb, [name], &mut found)?;
        if let [Some(ino)] = found {
            return Ok(Some(ino));
        }
    }
    Ok(None)
}

fn read_within(fs: &Fs<'_>, dir: &Inode, logical: Option<u32>) -> Result<Option<Vec<u8>>, ExtError> {
    match logical.map(u64::from) {
        Some(block) if block < block_count(&fs.sb, dir) => read_block(fs, dir, block).map(|(_, bytes)| Some(bytes)),
        _ => Ok(None),
    }
}

/// The blocks that can hold `hash` below an index node: one, and those into which a collision runs on.
fn children(node: &[u8], at: usize, hash: u32) -> Vec<u32> {
    let count = usize::from(u16_at(node, at + 2).unwrap_or(0));
    // The first entry stands for hash 0; its place is taken by limit and count.
    let hash_of = |i: usize| if i == 0 { Some(0) } else { u32_at(node, at + i * 8) };
    let block_of = |i: usize| u32_at(node, at + i * 8 + 4).map(|block| block & 0x0FFF_FFFF);
    let Some(first) = (0..count).rev().find(|&i| hash_of(i).is_some_and(|h| h <= hash)) else { return Vec::new() };
    // A block that begins in the middle of one hash has the lowest bit set.
    let runs_on = (first + 1..count).take_while(|&i| hash_of(i) == Some(hash | 1));
    std::iter::once(first).chain(runs_on).filter_map(block_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(entries: &[(u32, u32)], limit: u16) -> Vec<u8> {
        let mut raw = vec![0; usize::from(limit) * 8];
        for (i, (hash, block)) in entries.iter().enumerate() {
            raw[i * 8..i * 8 + 4].copy_from_slice(&hash.to_le_bytes());
            raw[i * 8 + 4..i * 8 + 8].copy_from_slice(&block.to_le_bytes());
        }
        raw[..2].copy_from_slice(&limit.to_le_bytes());
        raw[2..4].copy_from_slice(&(entries.len() as u16).to_le_bytes());
        raw
    }

    #[test]
    fn the_last_entry_at_or_below_the_hash() {
        let node = node(&[(0, 1), (100, 2), (200, 3)], 8);
        assert_eq!(children(&node, 0, 50), [1]);
        assert_eq!(children(&node, 0, 100), [2]);
        assert_eq!(children(&node, 0, 5000), [3]);
    }

    #[test]
    fn collisions_run_on() {
        let node = node(&[(0, 1), (100, 2), (101, 3), (200, 4)], 8);
        assert_eq!(children(&node, 0, 100), [2, 3]);
        assert_eq!(children(&node, 0, 150), [3]);
    }

    #[test]
    fn counts_are_not_trusted() {
        assert_eq!(children(&node(&[(0, 1), (9, 2)], 2)[..12], 0, 5), [1]);
        assert!(children(&node(&[], 8), 0, 5).is_empty());
        assert!(children(&[0, 0, 255, 255], 0, 5).is_empty());
        assert!(children(&[], 0, 5).is_empty());
    }
}
