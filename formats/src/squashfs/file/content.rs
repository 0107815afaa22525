//! The content of a file as a stream: its blocks, and at the end its part of a fragment.

use std::io::{self, Read};

use super::super::blocks::Blocks;
use super::super::error::SquashfsError;
use super::super::inode::Inode;
use super::pieces::{Piece, Pieces};

/// An open file. What it has read is not kept.
pub struct Content<'a> {
    blocks: &'a Blocks,
    pieces: Pieces<'a>,
    piece: Vec<u8>,
    at: usize,
}

impl<'a> Content<'a> {
    pub(crate) fn of(blocks: &'a Blocks, file: &Inode) -> Result<Self, SquashfsError> {
        Ok(Self { blocks, pieces: Pieces::of(blocks, file)?, piece: Vec::new(), at: 0 })
    }

    /// Fetches the next block's content; at the end of the file there is none.
    fn fetch(&mut self) -> Result<(), SquashfsError> {
        self.piece = match self.pieces.next()? {
            None => Vec::new(),
            Some((Piece::Hole, length)) => vec![0; length],
            Some((Piece::Block(at, size), length)) => self.blocks.unpack(at, size, length)?.bytes,
            Some((Piece::Fragment(number, offset), length)) => self.fragment_part(number, offset, length)?,
        };
        self.at = 0;
        Ok(())
    }

    fn fragment_part(&self, number: u32, offset: u32, wanted: usize) -> Result<Vec<u8>, SquashfsError> {
        let fragment = self.blocks.fragment(number)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let part = fragment.bytes.get(start..).and_then(|rest| rest.get(..wanted));
        part.map(<[u8]>::to_vec).ok_or(SquashfsError::Corrupt("a file lies outside its fragment"))
    }
}

impl Read for Content<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.piece.len() && !buf.is_empty() {
            self.fetch()?;
        }
        let rest = self.piece.get(self.at..).unwrap_or_default();
        let length = rest.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..length), rest.get(..length)) {
            to.copy_from_slice(from);
        }
        self.at += length;
        Ok(length)
    }
}
