//! Writing the new owners, in an order that can be cut off anywhere.
//!
//! All other inodes go first and are on disk before `work` and, last of all, `upper` change. As long as `upper` shows the
//! old owner the work is not finished, and doing it again from the start gives the same result.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::error::ChownError;
use super::mapping::Mapping;
use super::members::Members;
use super::roots::Roots;
use super::survey::is_member;
use condatainer_formats::ext::ExtError;
use condatainer_formats::ext::raw::{Chunk, Fs, Holes, InodeRecord, each_chunk};

/// Unchanged bytes between two changed inodes that are cheaper to write than to skip.
const GAP: usize = 4096;

/// Why writing ended early.
#[derive(Debug)]
pub(crate) enum CommitError {
    Ext(ExtError),
    Write(io::Error),
}

impl CommitError {
    /// As an error of the whole, in the image at `path`.
    pub(super) fn at(self, path: &Path) -> ChownError {
        match self {
            Self::Ext(error) => ChownError::ext(path, error).after_writing(),
            Self::Write(error) => ChownError::Interrupted { path: path.into(), error },
        }
    }
}

impl From<ExtError> for CommitError {
    fn from(error: ExtError) -> Self {
        Self::Ext(error)
    }
}

impl From<io::Error> for CommitError {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

/// The image under change.
pub(crate) struct Commit<'a> {
    pub(crate) fs: &'a Fs<'a>,
    pub file: &'a File,
    pub(crate) members: &'a Members,
    pub(crate) mapping: &'a Mapping,
    pub(crate) roots: Roots,
    pub(crate) holes: Holes<'a>,
}

impl Commit<'_> {
    /// Writes and syncs everything.
    pub(crate) fn run(&self, progress: &mut dyn FnMut(u64)) -> Result<(), CommitError> {
        let matters = |first, last| self.members.may_touch(first, last);
        each_chunk(self.fs, &matters, self.holes, progress, |chunk| self.rewrite(chunk))?;
        self.file.sync_data()?;
        // One after the other: a rerun recognises the old owner by `upper` alone.
        if let Some(work) = self.roots.work {
            self.rewrite_root(work)?;
            self.file.sync_data()?;
        }
        self.rewrite_root(self.roots.upper)?;
        self.file.sync_all()?;
        Ok(())
    }

    fn rewrite(&self, chunk: &mut Chunk<'_>) -> Result<(), CommitError> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        for (ino, at, record) in chunk.live() {
            if !self.is_root(ino) && self.patch(ino, record) {
                extend(&mut runs, at..at + record.len());
            }
        }
        for run in runs {
            let at = chunk.offset + run.start as u64;
            self.write(chunk.bytes.get(run).unwrap_or_default(), at)?;
        }
        Ok(())
    }

    fn is_root(&self, ino: u32) -> bool {
        ino == self.roots.upper || Some(ino) == self.roots.work
    }

    fn rewrite_root(&self, ino: u32) -> Result<(), CommitError> {
        let offset = self.fs.inode_offset(ino)?;
        let mut raw = self.fs.read(offset, usize::from(self.fs.sb.inode_size))?;
        if InodeRecord::of_mut(&mut raw).is_some_and(|record| self.patch(ino, record)) {
            self.write(&raw, offset)?;
        }
        Ok(())
    }

    /// Gives one record its new ids and checksum; false when it is to stay as it is.
    fn patch(&self, ino: u32, record: &mut InodeRecord) -> bool {
        if ino < self.fs.sb.first_ino || !is_member(self.members, ino, &record.inode) {
            return false;
        }
        let old = record.inode.ids();
        let new = self.mapping.apply(old);
        if new == old {
            return false;
        }
        record.inode.set_ids(new);
        if self.fs.sb.has_metadata_csum() {
            record.set_checksum(self.fs.sb.checksum_seed, ino);
        }
        true
    }

    fn write(&self, bytes: &[u8], offset: u64) -> Result<(), CommitError> {
        self.file.write_all_at(bytes, self.fs.window().offset + offset)?;
        Ok(())
    }
}

/// Adds a range to those that will be written, joining it to the last one when they are close.
fn extend(runs: &mut Vec<Range<usize>>, next: Range<usize>) {
    match runs.last_mut() {
        Some(last) if next.start - last.end <= GAP => last.end = next.end,
        _ => runs.push(next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_inodes_are_one_write() {
        let mut runs = Vec::new();
        for start in [0, 256, 4096, 20_000] {
            extend(&mut runs, start..start + 256);
        }
        assert_eq!(runs, [0..4352, 20_000..20_256]);
    }
}
