//! Writing devices and names, in an order that can be cut off anywhere.
//!
//! The image is marked as not clean first, and as clean last. Between the two a name never claims a type that its inode does not
//! have: before the inodes change their names stop telling a type, and that is all that `e2fsck -p` then has to put right. Until
//! its name changes a device `.wh.NAME` hides `NAME` from fuse-overlayfs as the file did. Of what goes, the inode goes first: a name
//! without an inode is cleared by `e2fsck -p`, an inode without a name not always.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{SystemTime, UNIX_EPOCH};

use super::TranslateError;
use super::find::{Change, Edit, Findings};
use crate::ext::raw::{
    Fs, GroupDescriptor, clear_bit, clear_flag, delete_inode, flag, make_whiteout, put_free_inodes, put_name, put_type,
    put_valid, remove_name,
};
use crate::ext::{ExtError, FileType};

pub(super) struct Writer<'a> {
    pub(super) fs: &'a Fs<'a, File>,
    pub(super) file: &'a File,
    pub(super) found: &'a Findings,
}

impl Writer<'_> {
    pub(super) fn run(&self) -> Result<(), TranslateError> {
        self.mark(false)?;
        for ino in &self.found.indexed {
            self.rewrite_inode(*ino, |raw| clear_flag(raw, flag::INDEX))?;
        }
        self.rewrite_names(|block, edit| match edit.change {
            Change::Rename(_) => self.put_type(block, edit, None),
            Change::Remove => true,
        })?;
        self.file.sync_data()?;
        self.rewrite_inodes()?;
        self.file.sync_data()?;
        self.rewrite_names(|block, edit| match &edit.change {
            Change::Rename(name) => {
                put_name(block, edit.at, name) && self.put_type(block, edit, Some(FileType::CharDevice))
            }
            Change::Remove => remove_name(block, edit.at),
        })?;
        self.file.sync_data()?;
        self.mark(true)
    }

    fn rewrite_inodes(&self) -> Result<(), TranslateError> {
        for ino in &self.found.devices {
            self.rewrite_inode(*ino, |raw| make_whiteout(raw, self.found.owner))?;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs() as u32);
        for ino in &self.found.removed {
            self.rewrite_inode(*ino, |raw| delete_inode(raw, now))?;
        }
        self.free_inodes()
    }

    /// Gives the inodes of removed files back to their groups.
    fn free_inodes(&self) -> Result<(), TranslateError> {
        let mut groups: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for ino in &self.found.removed {
            let index = ino - 1;
            let group = u64::from(index / self.fs.sb.inodes_per_group);
            groups.entry(group).or_default().push(index % self.fs.sb.inodes_per_group);
        }
        groups.into_iter().try_for_each(|(group, inodes)| self.free_in_group(group, &inodes))
    }

    fn free_in_group(&self, group: u64, inodes: &[u32]) -> Result<(), TranslateError> {
        let offset = GroupDescriptor::offset(&self.fs.sb, group)?;
        let mut raw = self.fs.read(offset, usize::from(self.fs.sb.desc_size))?;
        let descriptor = GroupDescriptor::from_bytes(&raw, &self.fs.sb);
        let bitmap = descriptor.ok_or_else(|| ExtError::corrupt("a group descriptor is too short"))?.inode_bitmap;
        let mut bits = self.fs.read_block(bitmap, "an inode bitmap")?;
        let freed = inodes.iter().filter(|inode| clear_bit(&mut bits, **inode)).count() as u64;
        self.write(&bits, self.fs.sb.block_offset(bitmap, "an inode bitmap")?)?;
        changed(GroupDescriptor::add_free_inodes(&mut raw, &self.fs.sb, freed))?;
        Ok(self.write(&raw, offset)?)
    }

    /// Whether the superblock says that the file system was left in order; when it is, with the right number of free inodes.
    fn mark(&self, valid: bool) -> Result<(), TranslateError> {
        let (offset, mut bytes) = self.fs.superblock_bytes()?;
        let freed = if valid { self.found.removed.len() as u32 } else { 0 };
        changed(put_free_inodes(&mut bytes, self.fs.sb.free_inodes_count.saturating_add(freed)))?;
        changed(put_valid(&mut bytes, valid))?;
        self.write(&bytes, offset)?;
        Ok(self.file.sync_data()?)
    }

    fn rewrite_inode(&self, ino: u32, change: impl FnOnce(&mut [u8]) -> bool) -> Result<(), TranslateError> {
        let offset = self.fs.inode_offset(ino)?;
        let mut raw = self.fs.read(offset, usize::from(self.fs.sb.inode_size))?;
        changed(change(&mut raw))?;
        Ok(self.write(&raw, offset)?)
    }

    /// Without the feature `filetype` no name tells a type.
    fn put_type(&self, block: &mut [u8], edit: &Edit, kind: Option<FileType>) -> bool {
        !self.fs.sb.features.has_filetype() || put_type(block, edit.at, kind)
    }

    fn rewrite_names(&self, change: impl Fn(&mut [u8], &Edit) -> bool) -> Result<(), TranslateError> {
        for (number, edits) in &self.found.edits {
            let mut block = self.fs.read_block(*number, "a directory")?;
            for edit in edits {
                changed(change(&mut block, edit))?;
            }
            self.write(&block, self.fs.sb.block_offset(*number, "a directory")?)?;
        }
        Ok(())
    }

    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, self.fs.window().offset + offset)
    }
}

/// What was read twice under the lock has not changed, so this cannot fail; if it does, nothing wrong is written.
fn changed(done: bool) -> Result<(), ExtError> {
    if done { Ok(()) } else { Err(ExtError::corrupt("a directory changed while it was rewritten")) }
}
