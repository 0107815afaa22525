//! Nodes of an extent tree: the kernel's `ext4_extent_header`, and behind it `ext4_extent_idx` or, in a leaf, `ext4_extent`.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::ext::error::ExtError;

const MAGIC: u16 = 0xF30A;
const MAX_DEPTH: u16 = 5;
/// An extent longer than this is allocated, but not written: it reads as zeros.
const LONGEST_WRITTEN: u16 = 32768;

#[derive(Debug, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    eh_magic: U16,
    eh_entries: U16,
    eh_max: U16,
    eh_depth: U16,
    eh_generation: U32,
}

/// Leads to the node below for blocks from `ei_block` on.
#[derive(Debug, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Index {
    ei_block: U32,
    ei_leaf_lo: U32,
    ei_leaf_hi: U16,
    ei_unused: U16,
}

/// Blocks of a file that lie together.
#[derive(Debug, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Extent {
    ee_block: U32,
    ee_len: U16,
    ee_start_hi: U16,
    ee_start_lo: U32,
}

/// What a node holds.
#[derive(Debug)]
pub(super) enum Node<'a> {
    /// Other nodes, so many levels above the leaves.
    Inner(u16, &'a [Index]),
    /// Extents.
    Leaf(&'a [Extent]),
}

impl Index {
    /// The first block of the file that is found below.
    pub(super) fn logical(&self) -> u64 {
        self.ei_block.into()
    }

    /// The block of the node below.
    pub(super) fn child(&self) -> u64 {
        u64::from(self.ei_leaf_lo) | u64::from(self.ei_leaf_hi) << 32
    }
}

impl Extent {
    /// The first block, counted within the file.
    pub(super) fn logical(&self) -> u64 {
        self.ee_block.into()
    }

    /// The first block, counted within the file system.
    pub(super) fn physical(&self) -> u64 {
        u64::from(self.ee_start_lo) | u64::from(self.ee_start_hi) << 32
    }

    /// How many blocks it has.
    pub(super) fn blocks(&self) -> u64 {
        let length = self.ee_len.get();
        if self.is_written() { length.into() } else { (length - LONGEST_WRITTEN).into() }
    }

    /// Whether anything was ever written to them.
    pub(super) fn is_written(&self) -> bool {
        self.ee_len <= LONGEST_WRITTEN
    }
}

impl<'a> Node<'a> {
    /// The node in `bytes`: a block, or what an inode has in its place.
    pub(super) fn of(bytes: &'a [u8]) -> Result<Self, ExtError> {
        let bad = || ExtError::corrupt("an extent tree has a bad header");
        let (header, body) = Header::ref_from_prefix(bytes).map_err(|_| bad())?;
        if header.eh_magic != MAGIC || header.eh_depth > MAX_DEPTH {
            return Err(bad());
        }
        let count = usize::from(header.eh_entries.get());
        let full = || ExtError::corrupt("an extent tree has more entries than room");
        match header.eh_depth.get() {
            0 => Ok(Self::Leaf(<[Extent]>::ref_from_prefix_with_elems(body, count).map_err(|_| full())?.0)),
            depth => Ok(Self::Inner(depth, <[Index]>::ref_from_prefix_with_elems(body, count).map_err(|_| full())?.0)),
        }
    }

    /// How many levels lie below it.
    pub(super) fn depth(&self) -> u16 {
        match self {
            Self::Inner(depth, _) => *depth,
            Self::Leaf(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extent_with_an_absurd_count_is_damage() {
        let mut node = vec![0; 60];
        node[..2].copy_from_slice(&MAGIC.to_le_bytes());
        node[2..4].copy_from_slice(&5_u16.to_le_bytes());
        assert!(Node::of(&node).is_err());
        node[2] = 4;
        assert!(matches!(Node::of(&node), Ok(Node::Leaf(extents)) if extents.len() == 4));
    }

    #[test]
    fn what_was_never_written_has_blocks_too() {
        let extent = |length| Extent { ee_len: U16::new(length), ..Extent::read_from_bytes(&[0; 12]).unwrap() };
        assert_eq!((extent(32768).is_written(), extent(32768).blocks()), (true, 32768));
        assert_eq!((extent(32769).is_written(), extent(32769).blocks()), (false, 1));
    }
}
