//! The record of an inode.

use std::ops::Range;

use condatainer_formats::ext::raw::{FileType, Inode, InodeRecord, LARGE_FILE};

use crate::error::{Error, Result};
use crate::store::Handle;

/// A longer file is a large one.
const SMALL: u64 = i32::MAX as u64;

/// A record of an inode table, with its number. It is a copy: what is changed counts once it is [`Node::write`]n.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Its number.
    pub(crate) ino: u32,
    record: Vec<u8>,
}

impl Node {
    /// Reads inode `ino`.
    pub(crate) fn read(handle: &mut Handle<'_>, ino: u32) -> Result<Self> {
        let geometry = handle.geometry();
        let (block, within) = geometry.inode_place(ino)?;
        let bytes = handle.block(block)?;
        let record = bytes.get(within..within + usize::from(geometry.sb.inode_size));
        let record = record.ok_or_else(|| Error::corrupt(format!("inode {ino} is too short")))?.to_vec();
        Ok(Self { ino, record })
    }

    /// Writes it to its place.
    pub(crate) fn write(&self, handle: &mut Handle<'_>) -> Result<()> {
        let (block, within) = handle.geometry().inode_place(self.ino)?;
        let place = handle.change(block)?.get_mut(within..within + self.record.len());
        let place = place.ok_or_else(|| self.too_short())?;
        let matters_to_data =
            self.inode()?.file_type() == FileType::Directory || differ_but_for_times(place, &self.record);
        place.copy_from_slice(&self.record);
        handle.touch(self.ino, matters_to_data);
        Ok(())
    }

    /// The fields.
    pub(crate) fn inode(&self) -> Result<&Inode> {
        self.record().map(|record| &record.inode)
    }

    /// The fields, to be changed.
    pub(crate) fn inode_mut(&mut self) -> Result<&mut Inode> {
        self.record_mut().map(|record| &mut record.inode)
    }

    /// The whole record.
    pub(crate) fn record(&self) -> Result<&InodeRecord> {
        InodeRecord::of(&self.record).ok_or_else(|| self.too_short())
    }

    /// The whole record, to be changed.
    pub(crate) fn record_mut(&mut self) -> Result<&mut InodeRecord> {
        let error = self.too_short();
        InodeRecord::of_mut(&mut self.record).ok_or(error)
    }

    /// Makes it `size` bytes long. The first file of more than 2 GiB gives the image the feature for such files, as in the kernel.
    pub(crate) fn set_size(&mut self, handle: &mut Handle<'_>, size: u64) -> Result<()> {
        self.inode_mut()?.set_size(size);
        if size > SMALL && handle.superblock()?.s_feature_ro_compat.get() & LARGE_FILE == 0 {
            handle.change_superblock(|raw| raw.s_feature_ro_compat.set(raw.s_feature_ro_compat.get() | LARGE_FILE))?;
        }
        Ok(())
    }

    pub(crate) fn too_short(&self) -> Error {
        Error::corrupt(format!("inode {} is too short", self.ino))
    }
}

/// Whether more than times and the version that goes with them is different in two records.
fn differ_but_for_times(one: &[u8], other: &[u8]) -> bool {
    const TIMES: [Range<usize>; 4] = [8..20, 36..40, 132..144, 152..156];
    let is_time = |at: usize| TIMES.iter().any(|times| times.contains(&at));
    one.iter().zip(other).enumerate().any(|(at, (one, other))| one != other && !is_time(at))
}
