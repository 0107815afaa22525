//! From a file's own block numbers to those of the disk: the block maps of ext2 and ext3, and the extent trees of ext4.
//!
//! Readers go through a map in one way, [`walk`]: in the order of the file, over as much of it as is asked for. Only
//! [`super::pointers`] has its own, because e2fsck visits what a reader refuses.

use std::ops::{ControlFlow, Range};

use zerocopy::IntoBytes;

use super::extent::{Index, Node};
use crate::ext::error::ExtError;
use crate::ext::fs::Fs;
use crate::ext::inode::{I_BLOCK_AT, Inode, flag};

/// Of the fifteen numbers in an inode so many stand for blocks; the others lead to one, two and three levels of indirect blocks.
pub(super) const DIRECT: u64 = 12;

/// Neighbouring blocks of a file that are neighbours on disk too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// The first block, counted within the file.
    pub(crate) logical: u64,
    /// The first block, counted within the file system.
    pub(crate) physical: u64,
    /// How many.
    pub(crate) blocks: u64,
}

impl Run {
    /// Whether `next` goes on where this one ends, in the file and on disk.
    pub(crate) fn is_before(&self, next: &Self) -> bool {
        (self.logical + self.blocks, self.physical + self.blocks) == (next.logical, next.physical)
    }
}

/// Where the number of a block stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pointer {
    /// In the inode, in this place of `i_block`.
    Inode(u64),
    /// In an indirect block, in this place of it.
    Indirect(u64, u64),
    /// It has none of its own: it is part of an extent.
    Extent,
}

/// Calls `visit` with the blocks of `range` that are on disk, by rising position, until it breaks; what is left out are holes. In a block
/// map each block comes by itself. Returns how many blocks were met, those that map others included.
pub(crate) fn walk(
    fs: &Fs<'_>,
    inode: &Inode,
    range: Range<u64>,
    visit: &mut dyn FnMut(Run) -> Result<ControlFlow<()>, ExtError>,
) -> Result<u64, ExtError> {
    walk_pointers(fs, inode, range, &mut |run, _| visit(run))
}

/// The disk block that holds block `logical` of a file; `None` for a hole.
pub(crate) fn physical_block(fs: &Fs<'_>, inode: &Inode, logical: u64) -> Result<Option<u64>, ExtError> {
    find(fs, inode, logical).map(|found| found.map(|(run, _)| run.physical))
}

/// Where the number of block `logical` of inode `ino` stands, in bytes within the file system. `None` for a hole, and where it is
/// no number of its own but part of an extent.
///
/// # Errors
/// A broken map.
pub fn pointer_offset(fs: &Fs<'_>, ino: u32, inode: &Inode, logical: u64) -> Result<Option<u64>, ExtError> {
    Ok(match find(fs, inode, logical)?.map(|(_, pointer)| pointer) {
        Some(Pointer::Inode(index)) => Some(fs.inode_offset(ino)? + I_BLOCK_AT + index * 4),
        Some(Pointer::Indirect(block, index)) => Some(fs.sb.block_offset(block, "an indirect block")? + index * 4),
        Some(Pointer::Extent) | None => None,
    })
}

/// The blocks that a file can have at most, holes included.
pub(crate) fn addressable(fs: &Fs<'_>, inode: &Inode) -> u64 {
    let pointers = u64::from(fs.sb.block_size / 4);
    if inode.has(flag::EXTENTS) { 1 << 32 } else { DIRECT + pointers + pointers.pow(2) + pointers.pow(3) }
}

fn find(fs: &Fs<'_>, inode: &Inode, logical: u64) -> Result<Option<(Run, Pointer)>, ExtError> {
    let mut found = None;
    walk_pointers(fs, inode, logical..logical.saturating_add(1), &mut |run, pointer| {
        found = Some((run, pointer));
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

type Step = Result<ControlFlow<()>, ExtError>;
type Visit<'a> = dyn FnMut(Run, Pointer) -> Step + 'a;

fn walk_pointers(fs: &Fs<'_>, inode: &Inode, range: Range<u64>, visit: &mut Visit<'_>) -> Result<u64, ExtError> {
    let mut walk = Walk { fs, range, met_until: 0, mapped: 0, steps: 0, visit };
    let _ = match inode.has(flag::EXTENTS) {
        true => walk.extents(&Node::of(inode.i_block.as_bytes())?)?,
        false => walk.block_map(inode)?,
    };
    Ok(walk.mapped + walk.steps)
}

struct Walk<'a, 'b> {
    fs: &'a Fs<'b>,
    /// The blocks that are asked for, counted within the file.
    range: Range<u64>,
    /// The end of the last run, counted within the file.
    met_until: u64,
    /// Blocks of the file that were met.
    mapped: u64,
    /// Blocks on the way to them.
    steps: u64,
    visit: &'a mut Visit<'a>,
}

impl Walk<'_, '_> {
    /// The twelve direct blocks, then trees of one, two and three levels of indirect blocks.
    fn block_map(&mut self, inode: &Inode) -> Step {
        let mut logical = 0;
        for (index, block) in (0_u32..).zip(inode.i_block) {
            let level = index.saturating_sub(DIRECT as u32 - 1);
            if self.below(block.get(), level, logical, Pointer::Inode(index.into()))?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            logical = logical.saturating_add(self.span(level));
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Blocks of a file below one number that stands `level` levels above them.
    fn span(&self, level: u32) -> u64 {
        u64::from(self.fs.sb.block_size / 4).saturating_pow(level)
    }

    /// What a number leads to that stands `level` levels above the blocks of the file, of which the first is `logical`.
    fn below(&mut self, block: u32, level: u32, logical: u64, pointer: Pointer) -> Step {
        let end = logical.saturating_add(self.span(level));
        if block == 0 || logical >= self.range.end || end <= self.range.start {
            return Ok(ControlFlow::Continue(()));
        }
        if level == 0 {
            return self.add(Run { logical, physical: block.into(), blocks: 1 }, pointer);
        }
        self.step()?;
        let node = self.fs.block(block.into(), "an indirect block")?;
        let span = self.span(level - 1);
        // Whoever wants a few blocks of a large file need not look at what stands for all of it.
        let first = self.range.start.saturating_sub(logical) / span.max(1);
        let wanted = self.range.end.saturating_sub(logical).div_ceil(span.max(1)).saturating_sub(first);
        let children = node.as_chunks::<4>().0.iter().map(|raw| u32::from_le_bytes(*raw));
        let wanted = (0..).zip(children).skip(to_usize(first)).take(to_usize(wanted));
        for (index, child) in wanted {
            let logical = logical.saturating_add(span.saturating_mul(index));
            if self.below(child, level - 1, logical, Pointer::Indirect(block.into(), index))?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn extents(&mut self, node: &Node<'_>) -> Step {
        match node {
            Node::Inner(depth, indexes) => {
                // Each ends where the next one begins.
                let ends = indexes.iter().skip(1).map(Index::logical).chain([u64::MAX]);
                for (index, end) in indexes.iter().zip(ends) {
                    let wanted = index.logical() < self.range.end && (end > self.range.start || self.range.start == 0);
                    if wanted && self.child(*depth, index.child())?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
            // What is allocated but not written reads as zeros, like a hole.
            Node::Leaf(extents) => {
                for extent in extents.iter().filter(|extent| extent.is_written()) {
                    let (logical, physical, blocks) = (extent.logical(), extent.physical(), extent.blocks());
                    if self.add(Run { logical, physical, blocks }, Pointer::Extent)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The node in `block`, below one that lies `depth` levels above the leaves.
    fn child(&mut self, depth: u16, block: u64) -> Step {
        self.step()?;
        let bytes = self.fs.block(block, "an extent index")?;
        let node = Node::of(&bytes)?;
        // Each level must lie exactly one below its parent, or a loop could keep us here.
        if node.depth() + 1 != depth {
            return Err(ExtError::corrupt("an extent tree has levels out of order"));
        }
        self.extents(&node)
    }

    /// Hands over what of a run is asked for.
    fn add(&mut self, run: Run, pointer: Pointer) -> Step {
        let logical = run.logical.max(self.range.start);
        let end = run.logical.saturating_add(run.blocks).min(self.range.end);
        if run.physical == 0 || logical >= end {
            return Ok(ControlFlow::Continue(()));
        }
        let run = Run { logical, physical: run.physical + (logical - run.logical), blocks: end - logical };
        self.check(run)?;
        self.met_until = end;
        (self.visit)(run, pointer)
    }

    /// No block belongs to a file twice, so a file that claims more blocks than there are goes in circles.
    fn check(&mut self, run: Run) -> Result<(), ExtError> {
        self.mapped += run.blocks;
        let last = self.fs.sb.blocks_count.checked_sub(run.blocks);
        if self.mapped > self.fs.sb.blocks_count || last.is_none_or(|last| run.physical > last) {
            return Err(ExtError::corrupt("a file has blocks that do not exist"));
        }
        match self.met_until > run.logical {
            true => Err(ExtError::corrupt("an extent tree is out of order")),
            false => Ok(()),
        }
    }

    fn step(&mut self) -> Result<(), ExtError> {
        self.steps += 1;
        let most = self.fs.sb.blocks_count;
        if self.steps > most { Err(ExtError::corrupt("a file's block map goes in circles")) } else { Ok(()) }
    }
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ext::superblock::SUPERBLOCK_OFFSET;
    use crate::source::Window;
    use zerocopy::little_endian::U32;

    const BLOCK: usize = 1024;

    /// A file system of 20 000 blocks that is nothing but a superblock.
    fn empty() -> Vec<u8> {
        let mut bytes = vec![0; 20_000 * BLOCK];
        let fields: [(u64, u32); 10] = [
            (0x0, 48),
            (0x4, 20_000),
            (0x14, 1),
            (0x20, 8192),
            (0x24, 8192),
            (0x28, 16),
            (0x4C, 1),
            (0x54, 11),
            (0x58, 128),
            (0x38, 0x1_EF53),
        ];
        for (at, value) in fields {
            put(&mut bytes, SUPERBLOCK_OFFSET + at, value);
        }
        bytes
    }

    fn put(bytes: &mut [u8], at: u64, value: u32) {
        bytes[at as usize..at as usize + 4].copy_from_slice(&value.to_le_bytes());
    }

    fn inode(slots: &[(usize, u32)]) -> Inode {
        let mut inode = Inode::from_bytes(&[0; 128]).unwrap();
        for (slot, block) in slots {
            inode.i_block[*slot] = U32::new(*block);
        }
        inode
    }

    #[test]
    fn block_maps_have_three_levels() {
        let mut bytes = empty();
        let at = |block: u64, index: u64| block * BLOCK as u64 + index * 4;
        for (place, value) in [
            (at(100, 0), 500),
            (at(200, 0), 201),
            (at(201, 0), 501),
            (at(200, 1), 202),
            (at(202, 1), 502),
            (at(300, 0), 301),
            (at(301, 0), 302),
            (at(302, 0), 503),
        ] {
            put(&mut bytes, place, value);
        }
        let fs = Fs::open(&bytes, Window::whole(bytes.len() as u64), u64::MAX).unwrap();
        let inode = inode(&[(11, 499), (12, 100), (13, 200), (14, 300)]);
        let expected = [
            (11, 499, None),
            (12, 500, Some(at(100, 0))),
            (12 + 256, 501, Some(at(201, 0))),
            (12 + 256 + 257, 502, Some(at(202, 1))),
            (12 + 256 + 65536, 503, Some(at(302, 0))),
        ];
        for (logical, physical, pointer) in expected {
            assert_eq!(physical_block(&fs, &inode, logical).unwrap(), Some(physical), "{logical}");
            let found = find(&fs, &inode, logical).unwrap().unwrap().1;
            match pointer {
                None => assert_eq!(found, Pointer::Inode(11)),
                Some(_) => assert_eq!(pointer_offset(&fs, 12, &inode, logical).unwrap(), pointer),
            }
        }
        assert_eq!(physical_block(&fs, &inode, 13).unwrap(), None);
        assert_eq!(physical_block(&fs, &inode, 0).unwrap(), None);
        assert_eq!(physical_block(&fs, &inode, 12 + 256 + 65536 + (1 << 24)).unwrap(), None);
        assert_eq!(addressable(&fs, &inode), 12 + 256 + 65536 + (1 << 24));
        let mut met = Vec::new();
        let all = walk(&fs, &inode, 0..70_000, &mut |run| {
            met.push((run.logical, run.physical));
            Ok(ControlFlow::Continue(()))
        });
        assert_eq!(met, expected.map(|(logical, physical, _)| (logical, physical)));
        assert_eq!(all.unwrap(), 5 + 7);
    }

    #[test]
    fn a_part_of_an_extent() {
        let bytes = empty();
        let fs = Fs::open(&bytes, Window::whole(bytes.len() as u64), u64::MAX).unwrap();
        let mut inode = inode(&[(0, 0x1_F30A), (1, 4), (3, 10), (4, 8), (5, 1000)]);
        inode.i_flags = U32::new(flag::EXTENTS);
        let part = |range| {
            let mut met = Vec::new();
            let walked = walk(&fs, &inode, range, &mut |run| {
                met.push(run);
                Ok(ControlFlow::Continue(()))
            });
            walked.map(|_| met)
        };
        assert_eq!(part(0..100).unwrap(), [Run { logical: 10, physical: 1000, blocks: 8 }]);
        assert_eq!(part(12..14).unwrap(), [Run { logical: 12, physical: 1002, blocks: 2 }]);
        assert_eq!(part(18..100).unwrap(), []);
        assert_eq!(pointer_offset(&fs, 12, &inode, 12).unwrap(), None);
    }
}
