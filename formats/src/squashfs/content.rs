//! The content of a file as a stream: its blocks, and at the end its part of a fragment.

use std::io::{self, Read};

use super::blocks::{Blocks, Cursor};
use super::error::SquashfsError;
use super::inode::{Body, Inode};

/// An open file.
pub struct Content<'a> {
    blocks: &'a Blocks,
    sizes: Cursor<'a>,
    next: u64,
    left: u64,
    fragment: Option<(u32, u32)>,
    piece: Vec<u8>,
    at: usize,
}

impl<'a> Content<'a> {
    pub(super) fn of(blocks: &'a Blocks, file: &Inode) -> Result<Self, SquashfsError> {
        let Body::File { start, fragment, reference, list } = file.body else {
            return Err(SquashfsError::Corrupt("something that is no file was to be read"));
        };
        let mut sizes = blocks.cursor(blocks.sb.inode_table_start.get(), reference)?;
        sizes.bytes(list)?;
        Ok(Self { blocks, sizes, next: start, left: file.size, fragment, piece: Vec::new(), at: 0 })
    }

    /// Fetches the next block's content; `left` is not 0.
    fn fetch(&mut self) -> Result<(), SquashfsError> {
        let whole = u64::from(self.blocks.sb.block_size);
        let wanted = usize::try_from(self.left.min(whole)).unwrap_or(usize::MAX);
        self.piece = match self.fragment {
            Some((number, offset)) if self.left < whole => self.fragment_part(number, offset, wanted)?,
            _ => self.block(wanted)?,
        };
        self.at = 0;
        self.left -= wanted as u64;
        if self.piece.len() == wanted { Ok(()) } else { Err(SquashfsError::Corrupt("a block has the wrong length")) }
    }

    fn block(&mut self, wanted: usize) -> Result<Vec<u8>, SquashfsError> {
        match self.sizes.u32()? {
            0 => Ok(vec![0; wanted]),
            size => {
                let (bytes, stored) = self.blocks.data(self.next, size)?;
                self.next += u64::from(stored);
                Ok(bytes)
            }
        }
    }

    fn fragment_part(&self, number: u32, offset: u32, wanted: usize) -> Result<Vec<u8>, SquashfsError> {
        let bytes = self.blocks.fragment(number)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let part = bytes.get(start..).and_then(|rest| rest.get(..wanted));
        part.map(<[u8]>::to_vec).ok_or(SquashfsError::Corrupt("a file lies outside its fragment"))
    }
}

impl Read for Content<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.piece.len() && self.left > 0 && !buf.is_empty() {
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
