//! The table of owners: inodes name them by their place in it.

use super::blocks::Blocks;
use super::error::SquashfsError;
use crate::file::Ids;

const LENGTH: u64 = 4;

/// All ids of an image.
pub(super) struct IdTable(Vec<u32>);

impl IdTable {
    pub(super) fn read(blocks: &Blocks) -> Result<Self, SquashfsError> {
        let record = |number| blocks.record(blocks.sb.id_table_start.get(), number * LENGTH).map(u32::from_le_bytes);
        (0..u64::from(blocks.sb.no_ids)).map(record).collect::<Result<_, _>>().map(Self)
    }

    /// The owner that an inode names by two numbers.
    pub(super) fn owner(&self, uid: u16, gid: u16) -> Result<Ids, SquashfsError> {
        let id = |number: u16| {
            let id = self.0.get(usize::from(number)).copied();
            id.ok_or(SquashfsError::Corrupt("an inode has an owner that does not exist"))
        };
        Ok(Ids { uid: id(uid)?, gid: id(gid)? })
    }
}
