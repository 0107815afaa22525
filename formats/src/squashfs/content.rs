//! The content of a file as a stream: its blocks, and at the end its part of a fragment.

use std::io::{self, Read};
use std::rc::Rc;

use super::Squashfs;
use super::error::SquashfsError;
use super::inode::{Body, Inode};
use super::metadata::Cursor;
use crate::source::ReadAt;

/// In the size of a block: it is stored as it is.
const STORED_PLAIN: u32 = 1 << 24;

/// An open file.
pub struct Content<'a, R> {
    image: &'a Squashfs<R>,
    sizes: Cursor<'a, R>,
    next: u64,
    left: u64,
    fragment: Option<(u32, u32)>,
    piece: Vec<u8>,
    at: usize,
}

impl<'a, R: ReadAt> Content<'a, R> {
    pub fn of(image: &'a Squashfs<R>, file: &Inode) -> Result<Self, SquashfsError> {
        let Body::File { start, fragment, reference, list } = file.body else {
            return Err(SquashfsError::Corrupt("something that is no file was to be read"));
        };
        let mut sizes = image.cursor(image.sb.inode_table, reference)?;
        sizes.bytes(list)?;
        Ok(Self { image, sizes, next: start, left: file.size, fragment, piece: Vec::new(), at: 0 })
    }

    /// Fetches the next block's content; `left` is not 0.
    fn fetch(&mut self) -> Result<(), SquashfsError> {
        let whole = u64::from(self.image.sb.block_size);
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
                let (bytes, stored) = self.unpack(self.next, size)?;
                self.next += u64::from(stored);
                Ok(bytes)
            }
        }
    }

    fn fragment_part(&self, number: u32, offset: u32, wanted: usize) -> Result<Vec<u8>, SquashfsError> {
        let bytes = self.fragment(number)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let part = bytes.get(start..).and_then(|rest| rest.get(..wanted));
        part.map(<[u8]>::to_vec).ok_or(SquashfsError::Corrupt("a file lies outside its fragment"))
    }

    fn fragment(&self, number: u32) -> Result<Rc<[u8]>, SquashfsError> {
        if let Some((_, bytes)) = self.image.fragment.borrow().as_ref().filter(|(last, _)| *last == number) {
            return Ok(Rc::clone(bytes));
        }
        let fragment = self.image.find_fragment(number)?;
        let bytes: Rc<[u8]> = self.unpack(fragment.start, fragment.size)?.0.into();
        *self.image.fragment.borrow_mut() = Some((number, Rc::clone(&bytes)));
        Ok(bytes)
    }

    /// A block's content, and the bytes it takes.
    fn unpack(&self, at: u64, size: u32) -> Result<(Vec<u8>, u32), SquashfsError> {
        let (stored, limit) = (size & !STORED_PLAIN, self.image.sb.block_size);
        if stored == 0 || stored > limit {
            return Err(SquashfsError::Corrupt("a block has an impossible length"));
        }
        let mut bytes = vec![0; usize::try_from(stored).unwrap_or(0)];
        self.image.read_into(&mut bytes, at)?;
        if size & STORED_PLAIN == 0 {
            bytes = self.image.sb.compression.expand(&bytes, usize::try_from(limit).unwrap_or(0))?;
        }
        Ok((bytes, stored))
    }
}

impl<R: ReadAt> Read for Content<'_, R> {
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
