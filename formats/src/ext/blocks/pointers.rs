//! How many blocks somebody visits who follows the block maps of all files to their ends, as e2fsck does.
//!
//! In a sound file system these are no more than it has. In one that was made for it a few blocks point to each other and stand for
//! a thousand million, and e2fsck works on it for as long as one lets it.

use zerocopy::IntoBytes;

use super::extent::Node;
use super::map::DIRECT;
use crate::ext::fs::Fs;
use crate::ext::inode::{Inode, flag};
use crate::file::FileType;

/// Added to twice the blocks of a file system: small ones may be damaged in odd ways.
const SLACK: u64 = 1 << 16;

/// They are too many.
#[derive(Debug)]
pub struct Endless;

/// What is left to be visited.
pub struct Pointers<'a, 'b> {
    fs: &'a Fs<'b>,
    left: u64,
}

impl<'a, 'b> Pointers<'a, 'b> {
    /// For a look at all inodes of a file system.
    #[must_use]
    pub fn of(fs: &'a Fs<'b>) -> Self {
        Self { fs, left: fs.sb.blocks_count.saturating_mul(2).saturating_add(SLACK) }
    }

    /// Follows the map of one inode. Fails when all together are too many; whatever else is wrong with it is e2fsck's business.
    ///
    /// # Errors
    /// They are too many.
    pub fn follow(&mut self, inode: &Inode) -> Result<(), Endless> {
        let mapped = matches!(inode.file_type(), FileType::Regular | FileType::Directory | FileType::Unknown)
            || (inode.file_type() == FileType::Symlink && !inode.is_fast_symlink(&self.fs.sb));
        match () {
            () if !mapped || inode.has(flag::INLINE_DATA) => Ok(()),
            () if inode.has(flag::EXTENTS) => self.extents(inode.i_block.as_bytes()),
            () => self.block_map(inode),
        }
    }

    fn visit(&mut self, blocks: u64) -> Result<(), Endless> {
        self.left = self.left.checked_sub(blocks).ok_or(Endless)?;
        Ok(())
    }

    fn block_map(&mut self, inode: &Inode) -> Result<(), Endless> {
        for (index, block) in (0_u32..).zip(inode.i_block) {
            self.below(block.get(), index.saturating_sub(DIRECT as u32 - 1))?;
        }
        Ok(())
    }

    /// A block, and all that it points to through `level` levels.
    fn below(&mut self, block: u32, level: u32) -> Result<(), Endless> {
        if block == 0 || u64::from(block) >= self.fs.sb.blocks_count {
            return Ok(());
        }
        self.visit(1)?;
        if level == 0 {
            return Ok(());
        }
        let Ok(node) = self.fs.read_block(block.into(), "an indirect block") else { return Ok(()) };
        for pointer in node.as_chunks::<4>().0 {
            self.below(u32::from_le_bytes(*pointer), level - 1)?;
        }
        Ok(())
    }

    fn extents(&mut self, node: &[u8]) -> Result<(), Endless> {
        match Node::of(node) {
            Ok(Node::Leaf(extents)) => extents.iter().try_for_each(|extent| self.visit(extent.blocks())),
            Ok(Node::Inner(depth, indexes)) => indexes.iter().try_for_each(|index| self.child(depth, index.child())),
            Err(_) => Ok(()),
        }
    }

    fn child(&mut self, depth: u16, block: u64) -> Result<(), Endless> {
        self.visit(1)?;
        let Ok(bytes) = self.fs.read_block(block, "an extent index") else { return Ok(()) };
        // Each level lies exactly one below its parent; e2fsck does not follow any other.
        match Node::of(&bytes) {
            Ok(node) if node.depth() + 1 == depth => self.extents(&bytes),
            _ => Ok(()),
        }
    }
}
