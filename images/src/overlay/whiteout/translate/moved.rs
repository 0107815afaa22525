//! Names that a power cut could tear: which they are, and where to they are moved.
//!
//! A disk writes 512 bytes at once or not at all, and nothing larger. A name that lies in two such sectors could come to be half the
//! old one and half the new one, which no repair can tell from a real name. So the whole block of the directory is written anew in
//! a free place, and then the directory leads there: by a number of four bytes, which never lies in two sectors.

use std::collections::BTreeSet;

use super::find::{Change, Edit, Findings};
use condatainer_formats::ext::raw::{Fs, pointer_offset};
use condatainer_formats::ext::{ExtError, Tree};

/// What a disk writes at once, in bytes.
pub(super) const SECTOR: u64 = 512;
/// Where in an entry the length of its name stands; behind it its type, and then the name.
const LENGTH_AT: usize = 6;
const NAME_AT: usize = 8;

/// Whether what changes of an entry lies in two sectors. Blocks begin with a sector.
fn can_be_torn(edit: &Edit) -> bool {
    match &edit.change {
        Change::Rename(name) => {
            let (first, last) = (edit.at + LENGTH_AT, edit.at + NAME_AT + name.len().saturating_sub(1));
            first as u64 / SECTOR != last as u64 / SECTOR
        }
        Change::Remove => false,
    }
}

impl Findings {
    /// Notes for each block with such a name where its number stands, and a free block to move it to. Where one of the two is not
    /// to be had, such names are left as they are.
    pub(super) fn plan_moves(&mut self, tree: &Tree<'_>) -> Result<(), ExtError> {
        for block in self.blocks.values_mut().filter(|block| block.edits.iter().any(can_be_torn)) {
            let (ino, logical) = block.place;
            block.pointer = pointer_offset(tree.fs(), ino, tree.node(ino)?.inode(), logical)?;
        }
        let wanted = self.blocks.values().filter(|block| block.pointer.is_some()).count();
        self.free = free_blocks(tree.fs(), wanted)?;
        self.leave_what_cannot_move();
        Ok(())
    }

    /// A single free block is enough: what moves there leaves its own place to the next.
    fn leave_what_cannot_move(&mut self) {
        let (has_room, mut left) = (!self.free.is_empty(), BTreeSet::new());
        for block in self.blocks.values_mut().filter(|block| block.edits.iter().any(can_be_torn)) {
            if has_room && block.pointer.is_some() {
                continue;
            }
            block.pointer = None;
            left.extend(block.edits.iter().filter(|edit| can_be_torn(edit)).map(|edit| edit.ino));
            block.edits.retain(|edit| !can_be_torn(edit));
        }
        self.left += left.len() as u64;
        self.devices.retain(|ino| !left.contains(ino));
        self.blocks.retain(|_, block| !block.edits.is_empty());
        let renamed: BTreeSet<u32> =
            self.blocks.values().filter(|block| block.renames()).map(|block| block.place.0).collect();
        self.indexed.retain(|directory| renamed.contains(directory));
    }
}

/// The first free blocks, `wanted` at most.
fn free_blocks(fs: &Fs<'_>, wanted: usize) -> Result<Vec<u64>, ExtError> {
    let (mut free, sb) = (Vec::new(), &fs.sb);
    for group in 0..sb.group_count() {
        if free.len() >= wanted {
            break;
        }
        let first = u64::from(sb.first_data_block) + group * u64::from(sb.blocks_per_group);
        let bits = fs.read_block(fs.group(group)?.block_bitmap(), "a block bitmap")?;
        let count = u64::from(sb.blocks_per_group).min(sb.blocks_count - first);
        let is_free = |bit: &u64| bits.get((bit / 8) as usize).is_some_and(|byte| byte & 1 << (bit % 8) == 0);
        free.extend((0..count).filter(is_free).map(|bit| first + bit).take(wanted - free.len()));
    }
    Ok(free)
}

#[cfg(test)]
mod tests {
    use super::super::find::Block;
    use super::*;
    use condatainer_formats::ext::Ids;

    #[test]
    fn a_name_lies_in_one_sector_or_in_two() {
        let torn = |at, name: &str| can_be_torn(&Edit { ino: 12, at, change: Change::Rename(name.into()) });
        assert!(!torn(12, "passwd") && !torn(512, "passwd") && !torn(512 - 16, "eight888"));
        assert!(torn(512 - 16, "nine-nine") && torn(512 - 8, "x"));
        assert!(!torn(512 - 4, "x"), "of what stands in the sector before nothing changes");
        assert!(!can_be_torn(&Edit { ino: 12, at: 512 - 8, change: Change::Remove }));
    }

    #[test]
    fn what_stays_is_not_written_and_keeps_its_index() {
        let block = |directory, ino, at| {
            let edits = vec![Edit { ino, at, change: Change::Rename(b"name".to_vec()) }];
            Block { edits, place: (directory, 0), pointer: Some(7) }
        };
        let mut found = Findings {
            blocks: [(100, block(20, 30, 512 - 8)), (101, block(21, 31, 12))].into(),
            indexed: [20, 21].into(),
            devices: [30, 31].into(),
            ..Findings::none(Ids::ROOT)
        };
        found.leave_what_cannot_move();
        assert_eq!(found.blocks.keys().copied().collect::<Vec<_>>(), [101]);
        assert_eq!((found.indexed, found.devices, found.left), ([21].into(), [31].into(), 1));
    }
}
