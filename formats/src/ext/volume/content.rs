//! The content of a file at any place of it: what lies together on disk is read at once, into the caller's buffer.

use std::ops::ControlFlow;

use crate::ext::blocks::map::{Run, addressable, walk};
use crate::ext::error::ExtError;
use crate::ext::fs::Fs;
use crate::ext::inode::{Inode, flag};

/// The longest target that a symbolic link can have.
pub(super) const LONGEST_TARGET: usize = 4096;

/// Reads from `offset` on, as much as `buf` takes or as there is.
pub(super) fn read(fs: &Fs<'_>, inode: &Inode, offset: u64, buf: &mut [u8]) -> Result<usize, ExtError> {
    check(fs, inode)?;
    let length = usize::try_from(inode.size().saturating_sub(offset)).unwrap_or(usize::MAX).min(buf.len());
    let buf = buf.get_mut(..length).unwrap_or_default();
    let block = u64::from(fs.sb.block_size);
    let range = offset / block..(offset + length as u64).div_ceil(block);
    if length == 0 {
        return Ok(0);
    }
    let mut piece = Piece { fs, offset, buf, done: 0 };
    let mut pending: Option<Run> = None;
    walk(fs, inode, range, &mut |run| {
        match &mut pending {
            Some(last) if last.is_before(&run) => last.blocks += run.blocks,
            last => {
                if let Some(complete) = last.replace(run) {
                    piece.fill(complete)?;
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if let Some(last) = pending {
        piece.fill(last)?;
    }
    piece.zeros_until(length);
    Ok(length)
}

/// The next offset from `offset` on that holds data, or that holds none.
pub(super) fn seek(fs: &Fs<'_>, inode: &Inode, offset: u64, hole: bool) -> Result<Option<u64>, ExtError> {
    check(fs, inode)?;
    let (block, size) = (u64::from(fs.sb.block_size), inode.size());
    if offset >= size {
        return Ok(None);
    }
    let (first, mut met) = (offset / block, None);
    let mut next = first;
    walk(fs, inode, first..size.div_ceil(block), &mut |run| {
        if !hole {
            met = Some(run.logical);
            return Ok(ControlFlow::Break(()));
        }
        if run.logical > next {
            return Ok(ControlFlow::Break(()));
        }
        next = run.logical + run.blocks;
        Ok(ControlFlow::Continue(()))
    })?;
    let found = if hole { Some((next * block).min(size)) } else { met.map(|logical| logical * block) };
    Ok(found.map(|at| at.max(offset)))
}

fn check(fs: &Fs<'_>, inode: &Inode) -> Result<(), ExtError> {
    if inode.has(flag::ENCRYPT) {
        return Err(ExtError::unsupported("encrypt for a file"));
    }
    match inode.size().div_ceil(u64::from(fs.sb.block_size)) > addressable(fs, inode) {
        true => Err(ExtError::corrupt("a file is longer than any file can be")),
        false => Ok(()),
    }
}

/// A buffer that is filled from its start.
struct Piece<'a, 'b, 'c> {
    fs: &'a Fs<'b>,
    /// Of the buffer's start, in bytes within the file.
    offset: u64,
    buf: &'c mut [u8],
    done: usize,
}

impl Piece<'_, '_, '_> {
    /// Reads what of a run belongs in the buffer; what is left out before it are zeros.
    fn fill(&mut self, run: Run) -> Result<(), ExtError> {
        let block = u64::from(self.fs.sb.block_size);
        let start = (run.logical * block).max(self.offset);
        let end = ((run.logical + run.blocks) * block).min(self.offset + self.buf.len() as u64);
        self.zeros_until((start - self.offset) as usize);
        let place = self.buf.get_mut(self.done..(end.saturating_sub(self.offset)) as usize).unwrap_or_default();
        let from = self.fs.sb.block_offset(run.physical, "a file")? + (start - run.logical * block);
        self.fs.read_into(place, from)?;
        self.done += place.len();
        Ok(())
    }

    fn zeros_until(&mut self, end: usize) {
        self.buf.get_mut(self.done..end).unwrap_or_default().fill(0);
        self.done = self.done.max(end);
    }
}
