//! Tables of small records: owners' ids and fragments. A list of block positions leads to their metadata blocks.

use super::Squashfs;
use super::error::SquashfsError;
use super::inode::Reference;
use super::metadata::{BLOCK, field};
use crate::file::Ids;
use crate::source::ReadAt;

const ID_LENGTH: usize = 4;
const FRAGMENT_LENGTH: usize = 16;

/// Where the end of a file lies, together with the ends of others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fragment {
    pub(crate) start: u64,
    /// As [`super::content`] reads it.
    pub(crate) size: u32,
}

impl<R: ReadAt> Squashfs<R> {
    pub(super) fn read_ids(&self) -> Result<Vec<u32>, SquashfsError> {
        let mut ids = Vec::new();
        for number in 0..u64::from(self.sb.ids) {
            ids.push(u32::from_le_bytes(self.record(self.sb.id_table, number * ID_LENGTH as u64)?));
        }
        Ok(ids)
    }

    /// The owner that an inode names by two numbers.
    pub fn owner(&self, uid: u16, gid: u16) -> Result<Ids, SquashfsError> {
        let id = |number: u16| {
            let id = self.ids.get(usize::from(number)).copied();
            id.ok_or(SquashfsError::Corrupt("an inode has an owner that does not exist"))
        };
        Ok(Ids { uid: id(uid)?, gid: id(gid)? })
    }

    pub(super) fn find_fragment(&self, number: u32) -> Result<Fragment, SquashfsError> {
        if number >= self.sb.fragments {
            return Err(SquashfsError::Corrupt("a file has a fragment that does not exist"));
        }
        let at = u64::from(number) * FRAGMENT_LENGTH as u64;
        let record: [u8; FRAGMENT_LENGTH] = self.record(self.sb.fragment_table, at)?;
        let (start, size) = (u64::from_le_bytes(field(&record, 0)), u32::from_le_bytes(field(&record, 8)));
        Ok(Fragment { start, size })
    }

    /// `N` bytes at `at` within the records that the list at `list` leads to.
    pub(super) fn record<const N: usize>(&self, list: u64, at: u64) -> Result<[u8; N], SquashfsError> {
        let block = at / BLOCK as u64;
        let entry = list.checked_add(block * 8).ok_or(SquashfsError::Corrupt("a table lies outside the image"))?;
        let mut start = [0; 8];
        self.read_into(&mut start, entry)?;
        let within = Reference(at % BLOCK as u64);
        self.cursor(u64::from_le_bytes(start), within)?.array()
    }
}
