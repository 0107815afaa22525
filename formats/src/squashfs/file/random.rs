//! Reading at any offset, and the search for holes.

use super::super::blocks::{Block, Blocks};
use super::super::error::SquashfsError;
use super::super::inode::Inode;
use super::pieces::{Marks, Piece, Pieces};

/// Fills `buf` from `offset` on, as far as the file goes. Returns how much that is.
pub(crate) fn read(
    blocks: &Blocks,
    marks: &Marks,
    file: &Inode,
    offset: u64,
    buf: &mut [u8],
) -> Result<usize, SquashfsError> {
    let whole = blocks.whole() as u64;
    let length = usize::try_from(file.size.saturating_sub(offset)).unwrap_or(usize::MAX).min(buf.len());
    let mut left = buf.get_mut(..length).unwrap_or_default();
    let mut pieces = Pieces::of(blocks, file)?;
    pieces.go_to(offset / whole, marks)?;
    let mut within = usize::try_from(offset % whole).unwrap_or(0);
    while !left.is_empty()
        && let Some((piece, length)) = pieces.next()?
    {
        let count = (length - within.min(length)).min(left.len());
        let (now, later) = left.split_at_mut(count);
        fill(blocks, piece, length, within, now)?;
        (left, within) = (later, 0);
    }
    Ok(length)
}

/// A part of a piece, which has `length` bytes in all.
fn fill(blocks: &Blocks, piece: Piece, length: usize, from: usize, buf: &mut [u8]) -> Result<(), SquashfsError> {
    let copy = |block: &Block, from: usize, buf: &mut [u8]| {
        let part = block.bytes.get(from..).and_then(|rest| rest.get(..buf.len()));
        part.map(|part| buf.copy_from_slice(part)).ok_or(SquashfsError::Corrupt("a file lies outside its fragment"))
    };
    match piece {
        Piece::Hole => {
            buf.fill(0);
            Ok(())
        }
        Piece::Block(at, size) => copy(&*blocks.data(at, size, length)?, from, buf),
        Piece::Fragment(number, offset) => {
            let start = usize::try_from(offset).unwrap_or(usize::MAX).saturating_add(from);
            copy(&*blocks.fragment(number)?, start, buf)
        }
    }
}

/// The next offset from `offset` on that holds data, or a hole. The end of the file counts as a hole.
pub(crate) fn seek(
    blocks: &Blocks,
    marks: &Marks,
    file: &Inode,
    offset: u64,
    hole: bool,
) -> Result<Option<u64>, SquashfsError> {
    if offset >= file.size {
        return Ok(None);
    }
    let whole = blocks.whole() as u64;
    let mut pieces = Pieces::of(blocks, file)?;
    pieces.go_to(offset / whole, marks)?;
    let mut start = offset / whole * whole;
    while let Some((piece, _)) = pieces.next()? {
        if (piece == Piece::Hole) == hole {
            return Ok(Some(start.max(offset)));
        }
        start += whole;
    }
    Ok(hole.then_some(file.size))
}
