//! How many blocks somebody visits who follows the block maps of all files to their ends, as e2fsck does.
//!
//! In a sound file system these are no more than it has. In one that was made for it a few blocks point to each other and stand for
//! a thousand million, and e2fsck works on it for as long as one lets it.

use super::map::ExtentNode;
use crate::bytes::{u16_at, u32_at};
use crate::ext::fs::Fs;
use crate::ext::inode::{FileType, Inode, flag};
use crate::source::ReadAt;

/// Added to twice the blocks of a file system: small ones may be damaged in odd ways.
const SLACK: u64 = 1 << 16;

/// They are too many.
#[derive(Debug)]
pub struct Endless;

/// What is left to be visited.
pub struct Pointers<'a, 'b, R: ?Sized> {
    fs: &'a Fs<'b, R>,
    left: u64,
}

impl<'a, 'b, R: ReadAt + ?Sized> Pointers<'a, 'b, R> {
    pub fn of(fs: &'a Fs<'b, R>) -> Self {
        Self { fs, left: fs.sb.blocks_count.saturating_mul(2).saturating_add(SLACK) }
    }

    /// Follows the map of one inode. Fails when all together are too many; whatever else is wrong with it is e2fsck's business.
    pub fn follow(&mut self, inode: &Inode) -> Result<(), Endless> {
        let mapped = matches!(inode.file_type(), FileType::Regular | FileType::Directory | FileType::Unknown)
            || (inode.file_type() == FileType::Symlink && !inode.is_fast_symlink(&self.fs.sb));
        match () {
            () if !mapped || inode.has(flag::INLINE_DATA) => Ok(()),
            () if inode.has(flag::EXTENTS) => self.extents(&inode.block),
            () => self.block_map(inode),
        }
    }

    fn visit(&mut self, blocks: u64) -> Result<(), Endless> {
        self.left = self.left.checked_sub(blocks).ok_or(Endless)?;
        Ok(())
    }

    fn block_map(&mut self, inode: &Inode) -> Result<(), Endless> {
        for slot in 0..15_u32 {
            let block = u32_at(&inode.block, slot as usize * 4).unwrap_or(0);
            self.below(block, slot.saturating_sub(11))?;
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
        let (Ok(depth), Ok(records)) = (ExtentNode::depth(node), ExtentNode::records(node)) else { return Ok(()) };
        for record in records {
            if depth == 0 {
                self.visit(ExtentNode::taken(record))?;
                continue;
            }
            self.visit(1)?;
            let child = u64::from(u32_at(record, 4).unwrap_or(0)) | u64::from(u16_at(record, 8).unwrap_or(0)) << 32;
            let Ok(node) = self.fs.read_block(child, "an extent index") else { continue };
            // Each level lies exactly one below its parent; e2fsck does not follow any other.
            if ExtentNode::depth(&node).is_ok_and(|below| below + 1 == depth) {
                self.extents(&node)?;
            }
        }
        Ok(())
    }
}
