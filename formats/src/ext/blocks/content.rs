//! The content of a file as a stream: read in large pieces where it lies together on disk, zeros where there is nothing.

use std::io::{self, Read};
use std::ops::ControlFlow;

use super::map::{Run, addressable, walk};
use crate::ext::error::ExtError;
use crate::ext::fs::Fs;
use crate::ext::inode::{Inode, flag};

/// A part of a file that is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Where it begins, in bytes from the start of the file.
    pub offset: u64,
    /// In bytes.
    pub length: u64,
}

/// An open file. Reading fails where its blocks cannot be read; what its inode says was checked before.
pub struct Content<'a, 'b> {
    fs: &'a Fs<'b>,
    runs: Vec<Run>,
    next: usize,
    at: u64,
    size: u64,
    claimed: u64,
}

impl<'a, 'b> Content<'a, 'b> {
    /// The content of `inode`, from its start.
    ///
    /// # Errors
    /// It is encrypted, lies in the inode itself, or has a broken map.
    pub fn of(fs: &'a Fs<'b>, inode: &Inode) -> Result<Self, ExtError> {
        if inode.has(flag::ENCRYPT) {
            return Err(ExtError::unsupported("encrypt for a file"));
        }
        let (runs, claimed) = runs(fs, inode, inode.size().div_ceil(u64::from(fs.sb.block_size)))?;
        Ok(Self { fs, runs, next: 0, at: 0, size: inode.size(), claimed })
    }

    /// The blocks that belong to it.
    pub(crate) fn claimed(&self) -> u64 {
        self.claimed
    }

    /// All of a content that is known to be short.
    pub(crate) fn read_whole(mut self, length: usize) -> Result<Vec<u8>, ExtError> {
        let mut whole = vec![0; length];
        self.read_exact(&mut whole)?;
        Ok(whole)
    }

    /// Passes over `bytes` without reading them.
    pub fn skip(&mut self, bytes: u64) {
        self.at = self.at.saturating_add(bytes);
    }

    /// Where there is content on disk.
    pub(crate) fn extents(&self) -> Vec<Extent> {
        let extent = |run: &Run| {
            let (start, end) = self.span(run);
            Extent { offset: start, length: end - start }
        };
        self.runs.iter().map(extent).collect()
    }

    /// First byte, and first byte behind it, within the file.
    fn span(&self, run: &Run) -> (u64, u64) {
        let block = u64::from(self.fs.sb.block_size);
        (run.logical * block, ((run.logical + run.blocks) * block).min(self.size))
    }

    fn read_run(&self, run: Run, start: u64, buf: &mut [u8]) -> Result<(), ExtError> {
        let from = self.fs.sb.block_offset(run.physical, "a file")?;
        self.fs.read_into(buf, from + (self.at - start))
    }
}

impl Read for Content<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.runs.get(self.next).is_some_and(|run| self.span(run).1 <= self.at) {
            self.next += 1;
        }
        let run = self.runs.get(self.next).copied();
        let (start, end) = run.map_or((self.size, self.size), |run| self.span(&run));
        let until = if self.at < start { start } else { end };
        let length = usize::try_from(until.saturating_sub(self.at)).unwrap_or(usize::MAX).min(buf.len());
        let piece = buf.get_mut(..length).unwrap_or_default();
        match run {
            Some(run) if self.at >= start => self.read_run(run, start, piece).map_err(|error| match error {
                ExtError::Io(error) => error,
                other => io::Error::other(other),
            })?,
            _ => piece.fill(0),
        }
        self.at += length as u64;
        Ok(length)
    }
}

/// The runs of a file up to block `end`, by rising position, and how many blocks it has in all, those that map others included. What
/// lies between two runs is a hole.
fn runs(fs: &Fs<'_>, inode: &Inode, end: u64) -> Result<(Vec<Run>, u64), ExtError> {
    if inode.has(flag::INLINE_DATA) {
        return Err(ExtError::unsupported("inline_data for a file"));
    }
    if end > addressable(fs, inode) {
        return Err(ExtError::corrupt("a file is longer than any file can be"));
    }
    let mut runs: Vec<Run> = Vec::new();
    let blocks = walk(fs, inode, 0..end, &mut |run| {
        match runs.last_mut() {
            Some(last) if last.is_before(&run) => last.blocks += run.blocks,
            _ => runs.push(run),
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((runs, blocks))
}
