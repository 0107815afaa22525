//! The journal of a file system as a file: where its blocks lie on the disk. What is in them is [`crate::jbd2`]'s business.

use std::io;
use std::ops::{ControlFlow, Range};

use super::map::{Run, walk};
use crate::ext::error::ExtError;
use crate::ext::fs::Fs;
use crate::file::FileType;
use crate::jbd2::{self, JournalError, RawJournalSuperblock, Replay};
use crate::source::{ReadAt, Window, read_exact_at};

/// A journal in more pieces is not believed: mke2fs makes one of a handful.
const MOST_PIECES: usize = 1 << 16;

/// Where the blocks of the journal lie, by their number in the journal.
#[derive(Debug, Clone)]
pub struct JournalMap {
    block_size: u32,
    pieces: Vec<Run>,
}

/// The journal itself, from its first byte.
struct Journal<'a> {
    file: &'a dyn ReadAt,
    window: Window,
    map: &'a JournalMap,
}

impl JournalMap {
    /// Of the journal that lies in the file system itself.
    ///
    /// # Errors
    /// It has none, or a broken one, or one that lies elsewhere.
    pub fn of(fs: &Fs<'_>) -> Result<Self, ExtError> {
        let ino = match fs.sb.journal_inum {
            _ if !fs.sb.features.has_journal() => {
                return Err(ExtError::corrupt("it needs a journal that it does not have"));
            }
            0 => return Err(ExtError::unsupported("a journal in another file")),
            ino => ino,
        };
        let inode = fs.inode(ino)?;
        if inode.file_type() != FileType::Regular || !inode.is_live() {
            return Err(ExtError::corrupt("its journal is no file"));
        }
        let blocks = inode.size() / u64::from(fs.sb.block_size);
        let mut pieces: Vec<Run> = Vec::new();
        walk(fs, &inode, 0..blocks, &mut |run| {
            match pieces.last_mut() {
                Some(last) if last.is_before(&run) => last.blocks += run.blocks,
                _ => pieces.push(run),
            }
            match pieces.len() > MOST_PIECES {
                true => Err(ExtError::unsupported(format!("a journal in more than {MOST_PIECES} pieces"))),
                false => Ok(ControlFlow::Continue(())),
            }
        })?;
        Ok(Self { block_size: fs.sb.block_size, pieces })
    }

    /// The journal's superblock, checked.
    ///
    /// # Errors
    /// There is none, or it contradicts itself or the file system.
    pub fn superblock(&self, file: &dyn ReadAt, window: Window) -> Result<RawJournalSuperblock, ExtError> {
        RawJournalSuperblock::read(&self.reader(file, window), self.room(), self.block_size).map_err(error)
    }

    /// How many blocks it has room for.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.pieces.last().map_or(0, |run| run.logical + run.blocks)
    }

    /// The blocks of the disk that are its, piece by piece.
    pub fn pieces(&self) -> impl Iterator<Item = Range<u64>> {
        self.pieces.iter().map(|run| run.physical..run.physical + run.blocks)
    }

    /// Where a block of the journal lies, and how many from it on lie together.
    ///
    /// # Errors
    /// It has no such block.
    pub fn find(&self, block: u64) -> io::Result<(u64, u64)> {
        let index = self.pieces.partition_point(|run| run.logical + run.blocks <= block);
        match self.pieces.get(index).filter(|run| run.logical <= block) {
            Some(run) => Ok((run.physical + (block - run.logical), run.logical + run.blocks - block)),
            None => Err(io::Error::other(ExtError::corrupt("its journal has a hole"))),
        }
    }

    /// It as something to read of its own. The file system lies in `window` of `file`.
    pub fn reader<'a>(&'a self, file: &'a dyn ReadAt, window: Window) -> impl ReadAt + 'a {
        Journal { file, window, map: self }
    }

    /// What is newer in the journal than in its place.
    ///
    /// # Errors
    /// It is not sound, or uses something that is not understood.
    pub fn recover(&self, file: &dyn ReadAt, window: Window) -> Result<Replay, ExtError> {
        // Not as many as its superblock counts: the journal may have a newer one, of a file system that has grown.
        let blocks = window.size / u64::from(self.block_size);
        jbd2::recover(&self.reader(file, window), self.room(), self.block_size, blocks).map_err(error)
    }
}

/// What is wrong with a journal is wrong with the file system.
fn error(error: JournalError) -> ExtError {
    match error {
        JournalError::Io(error) => ExtError::Io(error),
        JournalError::Corrupt(_) => ExtError::corrupt(error.to_string()),
        JournalError::Unsupported(what) => ExtError::unsupported(what),
    }
}

impl ReadAt for Journal<'_> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let block_size = u64::from(self.map.block_size);
        let (block, within) = (offset / block_size, offset % block_size);
        let (physical, together) = self.map.find(block)?;
        let length = usize::try_from(together * block_size - within).unwrap_or(usize::MAX).min(buf.len());
        let buf = buf.get_mut(..length).unwrap_or_default();
        read_exact_at(self.file, buf, self.window.offset + physical * block_size + within)?;
        Ok(length)
    }
}
