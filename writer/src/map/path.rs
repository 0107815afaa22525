//! Which pointers lead to a file's block.

use condatainer_formats::ext::raw::Inode;
use zerocopy::little_endian::U32;

use crate::error::{Error, Result};

/// So many pointers of the inode lead to blocks of the file; the next three to trees of one, two and three levels.
pub(super) const DIRECT: u64 = 12;
/// The highest tree.
const LEVELS: u32 = 3;

/// The way from the inode to a block of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Path {
    /// The inode's pointer.
    pub(super) slot: usize,
    /// How many blocks of pointers are on the way.
    pub(super) level: u32,
    /// The block, counted from the first one behind the inode's pointer.
    within: u64,
    per_block: u64,
}

impl Path {
    /// To a file's block where a block has room for `per_block` pointers; `None` when there is no such way.
    pub(super) fn to(per_block: u64, logical: u64) -> Option<Self> {
        if logical < DIRECT {
            return Some(Self { slot: logical as usize, level: 0, within: 0, per_block });
        }
        let mut within = logical - DIRECT;
        for level in 1..=LEVELS {
            let span = per_block.pow(level);
            if within < span {
                return Some(Self { slot: DIRECT as usize - 1 + level as usize, level, within, per_block });
            }
            within -= span;
        }
        None
    }

    /// How many blocks of the file are behind one pointer that is `level` blocks of pointers above them.
    pub(super) fn span(&self, level: u32) -> u64 {
        self.per_block.pow(level)
    }

    /// How many of them lie before this one.
    pub(super) fn before(&self, level: u32) -> u64 {
        self.within % self.span(level)
    }

    /// Which pointer leads on in the block of pointers that is `level` above the file's block, which has 0.
    pub(super) fn index(&self, level: u32) -> usize {
        (self.within / self.span(level.saturating_sub(1)) % self.per_block) as usize
    }
}

/// How many blocks there are ways to.
pub(super) fn addressable(per_block: u64) -> u64 {
    DIRECT + (1..=LEVELS).map(|level| per_block.pow(level)).sum::<u64>()
}

/// A block of pointers.
pub(super) fn pointers(bytes: &[u8]) -> &[U32] {
    zerocopy::FromBytes::ref_from_bytes(bytes).unwrap_or_default()
}

/// As [`pointers`], to be changed.
pub(super) fn pointers_mut(bytes: &mut [u8]) -> &mut [U32] {
    zerocopy::FromBytes::mut_from_bytes(bytes).unwrap_or_default()
}

/// One of the inode's pointers.
pub(super) fn top(inode: &Inode, slot: usize) -> Result<u64> {
    at(&inode.i_block, slot)
}

/// Sets one of the inode's pointers.
pub(super) fn set_top(inode: &mut Inode, slot: usize, block: u64) -> Result<()> {
    set_at(&mut inode.i_block, slot, block)
}

/// A pointer.
pub(super) fn at(pointers: &[U32], index: usize) -> Result<u64> {
    pointers.get(index).map(|pointer| u64::from(pointer.get())).ok_or_else(too_short)
}

/// Sets a pointer.
pub(super) fn set_at(pointers: &mut [U32], index: usize, block: u64) -> Result<()> {
    let block = u32::try_from(block).map_err(|_| Error::corrupt("a block's number has no room in a block map"))?;
    pointers.get_mut(index).map(|pointer| pointer.set(block)).ok_or_else(too_short)
}

fn too_short() -> Error {
    Error::corrupt("a block of pointers is too short")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_block_has_a_way_of_its_own() {
        let n = 256;
        let way = |logical| {
            Path::to(n, logical).map(|path| (path.slot, path.level, [3, 2, 1].map(|level| path.index(level))))
        };
        assert_eq!(way(0), Some((0, 0, [0, 0, 0])));
        assert_eq!(way(11), Some((11, 0, [0, 0, 0])));
        assert_eq!(way(12), Some((12, 1, [0, 0, 0])));
        assert_eq!(way(12 + 255), Some((12, 1, [0, 0, 255])));
        assert_eq!(way(12 + 256), Some((13, 2, [0, 0, 0])));
        assert_eq!(way(12 + 256 + 256 * 3 + 7), Some((13, 2, [0, 3, 7])));
        let third = 12 + 256 + 256 * 256;
        assert_eq!(way(third + 256 * 256 * 5 + 256 * 6 + 7), Some((14, 3, [5, 6, 7])));
        assert_eq!(way(addressable(n) - 1), Some((14, 3, [255, 255, 255])));
        assert_eq!(way(addressable(n)), None);
        assert_eq!(way(u64::MAX), None);
    }
}
