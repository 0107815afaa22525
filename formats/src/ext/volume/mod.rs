//! A file system that any number of threads read at the same time, each at whatever place it likes: what a server stands on.
//!
//! It owns its file, which must not change as long as it lives: whoever opens it holds the image's lock. Of its metadata it keeps a
//! bounded part in memory; contents go from the file to the caller's buffer. Nothing is ever written: what its journal
//! has is read from there. The bitmaps, the counts and the list
//! of orphans are not looked at, so that it does not matter in what state a killed writer left them.
//!
//! [`super::tree`] reads whole trees once, without the journal and with one reader: for seal, diff and whoever writes to the image.

pub(super) mod acl;
mod content;
mod inline;
mod journal;
mod stat;

use std::ops::ControlFlow;
use std::sync::Arc;

use zerocopy::IntoBytes;

use super::directory::{Entry, each_entry};
use super::error::ExtError;
use super::fs::Fs;
use super::inode::{InodeRecord, flag};
use super::probe::find_upper_and_work;
use super::superblock::ROOT_INO;
use super::tree::xattr::xattrs;
use crate::file::{FileType, Xattr};
use crate::source::{ReadAt, Window};
pub use stat::{Stat, Time};

/// Neighbouring inodes are read together, in bytes.
const TABLE_PIECE: u64 = 16 * 1024;
/// Directories of more blocks are not believed.
const MOST_DIRECTORY_BLOCKS: u64 = 1 << 18;

/// An open file system.
pub struct Volume<'a> {
    fs: Fs<'a>,
}

/// An inode's record, in the piece of the table that holds it.
struct Held {
    piece: Arc<[u8]>,
    at: usize,
    length: usize,
}

impl Held {
    fn record(&self) -> Result<&InodeRecord, ExtError> {
        let bytes = self.piece.get(self.at..self.at.saturating_add(self.length));
        bytes.and_then(InodeRecord::of).ok_or_else(|| ExtError::corrupt("an inode is too short"))
    }
}

impl<'a> Volume<'a> {
    /// Opens the file system in `window` of `reader`; of its metadata up to `cached` bytes are kept in memory.
    ///
    /// # Errors
    /// No readable ext superblock, or a journal that must be replayed and cannot be.
    pub fn open(reader: Box<dyn ReadAt + 'a>, window: Window, cached: usize) -> Result<Self, ExtError> {
        let replayed = journal::replayed(reader, window)?;
        Fs::owned(replayed, window, cached).map(|fs| Self { fs })
    }

    /// The inode of the root directory.
    #[must_use]
    pub fn root(&self) -> u32 {
        ROOT_INO
    }

    /// The inode of the directory `upper`, which a container sees.
    ///
    /// # Errors
    /// It is missing, is something else, or cannot be read.
    pub fn upper(&self) -> Result<u32, ExtError> {
        let [upper, _] = find_upper_and_work(&self.fs)?;
        let upper = upper.ok_or_else(|| ExtError::without_directory("upper"))?;
        match self.stat(upper)?.kind {
            FileType::Directory => Ok(upper),
            other => Err(ExtError::other_than_directory("upper", other)),
        }
    }

    /// What an inode says.
    ///
    /// # Errors
    /// It does not exist, is not in use, or cannot be read.
    pub fn stat(&self, ino: u32) -> Result<Stat, ExtError> {
        Ok(Stat::of(self.held(ino)?.record()?, &self.fs.sb))
    }

    /// Calls `visit` with each name of a directory but `.` and `..`, in the order of the disk, until it breaks.
    ///
    /// # Errors
    /// Not a directory, a broken one, or one that has a name that no file can have.
    pub fn entries(&self, ino: u32, visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<(), ExtError> {
        let held = self.held(ino)?;
        let record = held.record()?;
        let mut bad = false;
        let mut checked = |entry: Entry<'_>| {
            bad = entry.name.iter().any(|byte| matches!(byte, b'/' | 0));
            if bad { ControlFlow::Break(()) } else { visit(entry) }
        };
        if record.inode.has(flag::INLINE_DATA) {
            inline::each_entry(&self.fs, record, &mut checked)?;
        } else if record.inode.size() / u64::from(self.fs.sb.block_size) > MOST_DIRECTORY_BLOCKS {
            return Err(ExtError::unsupported(format!("a directory of {} bytes", record.inode.size())));
        } else {
            let _ = each_entry(&self.fs, &record.inode, &mut checked)?;
        }
        if bad { Err(ExtError::corrupt("a directory has a name that no file can have")) } else { Ok(()) }
    }

    /// Reads from `offset` on, as much as `buf` takes or as there is; holes read as zeros.
    ///
    /// # Errors
    /// A broken file, or one that is encrypted.
    pub fn read(&self, ino: u32, offset: u64, buf: &mut [u8]) -> Result<usize, ExtError> {
        let held = self.held(ino)?;
        let record = held.record()?;
        if record.inode.has(flag::INLINE_DATA) {
            return inline::content(&self.fs, record)?.read_at(buf, offset).map_err(ExtError::Io);
        }
        content::read(&self.fs, &record.inode, offset, buf)
    }

    /// The next offset from `offset` on that holds data, or that holds none; the end of the file is a hole. `None` where there is nothing
    /// of the kind.
    ///
    /// # Errors
    /// As [`Volume::read`].
    pub fn seek(&self, ino: u32, offset: u64, hole: bool) -> Result<Option<u64>, ExtError> {
        let inode = self.held(ino)?.record()?.inode;
        match inode.has(flag::INLINE_DATA) {
            true if offset >= inode.size() => Ok(None),
            true => Ok(Some(if hole { inode.size() } else { offset })),
            false => content::seek(&self.fs, &inode, offset, hole),
        }
    }

    /// Where a symbolic link leads.
    ///
    /// # Errors
    /// Not a symbolic link, or a broken one.
    pub fn target(&self, ino: u32) -> Result<Vec<u8>, ExtError> {
        let broken = || ExtError::corrupt(format!("inode {ino} is no sound symbolic link"));
        let held = self.held(ino)?;
        let inode = &held.record()?.inode;
        let length = usize::try_from(inode.size()).ok().filter(|length| (1..=content::LONGEST_TARGET).contains(length));
        let length = length.filter(|_| inode.file_type() == FileType::Symlink).ok_or_else(broken)?;
        let mut target = vec![0; length];
        match inode.is_fast_symlink(&self.fs.sb) {
            true => target = inode.i_block.as_bytes().get(..length).ok_or_else(broken)?.to_vec(),
            false => {
                let read = self.read(ino, 0, &mut target)?;
                target.truncate(read);
            }
        }
        // As the kernel reads it.
        target.truncate(target.iter().position(|byte| *byte == 0).unwrap_or(length));
        if target.is_empty() { Err(broken()) } else { Ok(target) }
    }

    /// The extended attributes of an inode that getxattr(2) shows, in the form in which it shows them, by name.
    ///
    /// # Errors
    /// Attributes that are broken.
    pub fn xattrs(&self, ino: u32) -> Result<Vec<Xattr>, ExtError> {
        let all = xattrs(&self.fs, self.held(ino)?.record()?)?;
        all.into_iter().filter_map(|xattr| shown(xattr).transpose()).collect()
    }

    /// The record of an inode in use, from a piece of the table that usually holds the next one too.
    fn held(&self, ino: u32) -> Result<Held, ExtError> {
        let at = self.fs.inode_offset(ino)?;
        let start = at / TABLE_PIECE * TABLE_PIECE;
        let end = (start + TABLE_PIECE).min(self.fs.sb.blocks_count * u64::from(self.fs.sb.block_size));
        let piece = self.fs.piece(start, usize::try_from(end.saturating_sub(start)).unwrap_or(0))?;
        let held = Held { piece, at: (at - start) as usize, length: self.fs.sb.inode_size.into() };
        match held.record()?.inode.is_live() {
            true => Ok(held),
            false => Err(ExtError::corrupt(format!("a name points to inode {ino}, which is not in use"))),
        }
    }
}

/// What is shown of an attribute: the content of small files, which ext keeps in one, is none.
fn shown(xattr: Xattr) -> Result<Option<Xattr>, ExtError> {
    match xattr.is_acl() {
        true => Ok(acl::shown(&xattr.value)?.map(|value| Xattr { value, ..xattr })),
        false => Ok(Some(xattr).filter(|xattr| !xattr.name.starts_with(b"system."))),
    }
}
