//! The table of owners: inodes name them by their place in it.

use super::blocks::{BLOCK, Blocks};
use super::error::SquashfsError;
use crate::file::Ids;

const LENGTH: usize = 4;

/// All ids of an image.
pub(crate) struct IdTable(Vec<u32>);

impl IdTable {
    pub(super) fn read(blocks: &Blocks) -> Result<Self, SquashfsError> {
        let (mut ids, all) = (Vec::new(), usize::from(blocks.sb.no_ids.get()));
        while ids.len() < all {
            // As many as lie in one block of the table.
            let count = (all - ids.len()).min(BLOCK / LENGTH);
            let mut cursor = blocks.table(blocks.sb.id_table_start.get(), (ids.len() * LENGTH) as u64)?;
            for _ in 0..count {
                ids.push(cursor.u32()?);
            }
        }
        Ok(Self(ids))
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
