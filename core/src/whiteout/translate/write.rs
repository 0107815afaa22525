//! Writing devices and names, in an order that can be cut off anywhere.
//!
//! The image is marked as not clean first, and as clean last. Between the two a name never claims a type that its inode does not
//! have: before the inodes change their names stop telling a type, and that is all that `e2fsck -p` then has to put right. Until
//! its name changes a device `.wh.NAME` hides `NAME` from fuse-overlayfs as the file did.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::TranslateError;
use super::find::{Edit, Findings};
use crate::ext::raw::{Fs, clear_flag, flag, make_whiteout, put_name, put_type, put_valid};
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
        self.rewrite_names(|block, edit| self.put_type(block, edit, None))?;
        self.file.sync_data()?;
        for ino in &self.found.inodes {
            self.rewrite_inode(*ino, make_whiteout)?;
        }
        self.file.sync_data()?;
        self.rewrite_names(|block, edit| {
            put_name(block, edit.at, &edit.name) && self.put_type(block, edit, Some(FileType::CharDevice))
        })?;
        self.file.sync_data()?;
        self.mark(true)
    }

    /// Whether the superblock says that the file system was left in order.
    fn mark(&self, valid: bool) -> Result<(), TranslateError> {
        let (offset, mut bytes) = self.fs.superblock_bytes()?;
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
