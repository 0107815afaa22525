//! Where the pieces of a file lie: whole blocks, one behind the other in the image, and the end of the file, which may lie in a fragment.
//!
//! An inode has the sizes of its blocks only, so the place of one is the sum of all before it. Of long lists some sums are kept.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::super::blocks::{Blocks, Cursor, Position, stored};
use super::super::error::SquashfsError;
use super::super::inode::{Body, FileBody, Inode};

/// The sizes that are read at once.
const CHUNK: u64 = 256;
/// A file has no more blocks than these; it would be as large as 256 GiB even with the smallest ones.
const MOST_BLOCKS: u64 = 1 << 26;
/// Sums are kept of so many files, and of one file at most so many.
const FILES: usize = 32;
const MARKS: u64 = 2048;
/// More sizes than these are not left out in one go.
const FAR: u64 = 1 << 16;

/// One piece of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// Nothing but zeros.
    Hole,
    /// The block at a place, and how it is stored.
    Block(u64, u32),
    /// In a fragment, from an offset on.
    Fragment(u32, u32),
}

/// The pieces of a file, in order from any one on.
pub(super) struct Pieces<'a> {
    blocks: &'a Blocks,
    file: FileBody,
    size: u64,
    /// How many of them are in the list.
    listed: u64,
    /// The place in the list, where that was needed.
    sizes: Option<Cursor<'a>>,
    next: u64,
    at: u64,
}

impl<'a> Pieces<'a> {
    /// Those of `file`, from the start.
    pub(super) fn of(blocks: &'a Blocks, file: &Inode) -> Result<Self, SquashfsError> {
        let Body::File(body) = file.body else {
            return Err(SquashfsError::Corrupt("something that is no file was to be read"));
        };
        let whole = u64::from(blocks.sb.block_size);
        let listed = if body.fragment.is_some() { file.size / whole } else { file.size.div_ceil(whole) };
        if listed > MOST_BLOCKS {
            return Err(SquashfsError::Corrupt("a file is longer than any file can be"));
        }
        Ok(Self { blocks, file: body, size: file.size, listed, sizes: None, next: 0, at: body.start })
    }

    /// Leaves out all pieces before `index`.
    pub(super) fn go_to(&mut self, index: u64, marks: &Marks) -> Result<(), SquashfsError> {
        if index >= self.listed {
            // Nothing of the list is needed.
            self.next = index;
            return Ok(());
        }
        let stride = (self.listed / MARKS).next_multiple_of(CHUNK).max(CHUNK);
        if let Some(mark) = (index >= stride).then(|| marks.nearest(self.file.list, index / stride)).flatten() {
            (self.next, self.at) = (mark.number * stride, mark.at);
            self.sizes = Some(self.blocks.cursor_at(mark.place)?);
        }
        let mut new = Vec::new();
        while self.next < index {
            self.leave_out((index - self.next).min(CHUNK - self.next % CHUNK))?;
            if let (0, Some(sizes)) = (self.next % stride, &self.sizes) {
                new.push(Mark { number: self.next / stride, place: sizes.position(), at: self.at });
            }
        }
        if !new.is_empty() {
            marks.keep(self.file.list, new);
        }
        Ok(())
    }

    /// `count` of them, which is at most a chunk.
    fn leave_out(&mut self, count: u64) -> Result<(), SquashfsError> {
        let mut buf = [0; 4 * CHUNK as usize];
        let raw = buf.get_mut(..4 * usize::try_from(count).unwrap_or(0)).unwrap_or_default();
        self.sizes()?.read(raw)?;
        let size = |raw: &[u8]| raw.try_into().map_or(0, u32::from_le_bytes);
        let sum: u64 = raw.chunks_exact(4).map(|raw| u64::from(stored(size(raw)))).sum();
        (self.next, self.at) = (self.next + count, self.at.saturating_add(sum));
        Ok(())
    }

    fn sizes(&mut self) -> Result<&mut Cursor<'a>, SquashfsError> {
        match &mut self.sizes {
            Some(sizes) => Ok(sizes),
            none => Ok(none.insert(self.blocks.cursor_at(self.file.list)?)),
        }
    }

    /// The next piece and its length, if there is one.
    pub(super) fn next(&mut self) -> Result<Option<(Piece, usize)>, SquashfsError> {
        let whole = self.blocks.whole();
        let left = self.size.saturating_sub(self.next.saturating_mul(whole as u64));
        let length = usize::try_from(left).unwrap_or(whole).min(whole);
        if length == 0 {
            return Ok(None);
        }
        let piece = match self.file.fragment {
            Some((number, offset)) if self.next >= self.listed => Piece::Fragment(number, offset),
            _ => self.block()?,
        };
        self.next += 1;
        Ok(Some((piece, length)))
    }

    fn block(&mut self) -> Result<Piece, SquashfsError> {
        let at = self.at;
        match self.sizes()?.u32()? {
            0 => Ok(Piece::Hole),
            size => {
                self.at = at.saturating_add(u64::from(stored(size)));
                Ok(Piece::Block(at, size))
            }
        }
    }

    /// What comes behind the list: the next inode; nothing where a long way leads there.
    pub(super) fn behind(mut self) -> Result<Option<Cursor<'a>>, SquashfsError> {
        let rest = if self.sizes.is_some() { self.listed.saturating_sub(self.next) } else { self.listed };
        if rest > FAR {
            return Ok(None);
        }
        self.sizes()?.skip(usize::try_from(rest * 4).unwrap_or(0))?;
        Ok(self.sizes)
    }
}

/// Where in a list, and in the image, the blocks from a multiple of the stride on are.
#[derive(Debug, Clone, Copy)]
struct Mark {
    number: u64,
    place: Position,
    at: u64,
}

/// The sums of the files that were read last, the first of each being of the first stride.
#[derive(Default)]
pub(crate) struct Marks(Mutex<VecDeque<(Position, Vec<Mark>)>>);

impl Marks {
    fn nearest(&self, list: Position, number: u64) -> Option<Mark> {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = files.iter().position(|(file, _)| *file == list)?;
        let file = files.remove(at)?;
        let mark = file.1.get(usize::try_from(number).ok()?.min(file.1.len()).checked_sub(1)?).copied();
        files.push_back(file);
        mark
    }

    fn keep(&self, list: Position, new: Vec<Mark>) {
        let first = new.first().map_or(0, |mark| mark.number);
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, marks)) = files.iter_mut().find(|(file, _)| *file == list) else {
            // Where they do not begin with the first one, another thread has let the file's sums go in between.
            if first != 1 {
                return;
            }
            if files.len() >= FILES {
                files.pop_front();
            }
            return files.push_back((list, new));
        };
        let known = marks.last().map_or(0, |mark| mark.number);
        if first <= known + 1 {
            marks.extend(new.into_iter().filter(|mark| mark.number > known));
        }
    }
}
