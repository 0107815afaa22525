//! One file's content: reading, writing, cutting, holes.

use std::io::IoSlice;

use nix::errno::Errno;

use super::extents::{Extents, Part, Piece};
use super::pool::{BLOCK, Data, ZEROS};
use crate::serve::tree::Answer;

/// A file has a window behind its last block, so that it grows in one piece, from this number of blocks on.
const GROWING: u64 = 16;
/// The longest window: 8 MiB.
const WINDOW: u64 = 2048;

/// Where the content of one file is.
#[derive(Debug, Default)]
pub(crate) struct Content {
    extents: Extents,
    blocks: u64,
}

impl Content {
    /// How many blocks it has.
    pub(crate) fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Fills `buf` from `offset` on, of a file with `size` bytes.
    pub(crate) fn read(&self, of: &Data, size: u64, offset: u64, buf: &mut [u8]) -> Answer<usize> {
        let wanted = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX).min(buf.len());
        let buf = &mut buf[..wanted];
        let mut done = 0;
        while done < wanted {
            let at = offset + done as u64;
            let (block, within) = (at / BLOCK, at % BLOCK);
            let rest = &mut buf[done..];
            let fits = |blocks: u64| (blocks.saturating_mul(BLOCK) - within).min(rest.len() as u64) as usize;
            match self.extents.part(block) {
                Part::Data(piece) => {
                    let len = fits(piece.len);
                    of.backing.read(piece.at * BLOCK + within, &mut rest[..len])?;
                    done += len;
                }
                Part::Hole(blocks) => {
                    let len = blocks.map_or(rest.len(), fits);
                    rest[..len].fill(0);
                    done += len;
                }
            }
        }
        Ok(wanted)
    }

    /// Writes `data` at `offset`, and returns how much of it there was room for.
    pub(crate) fn write(&mut self, of: &Data, offset: u64, data: &[u8]) -> Answer<usize> {
        let end = offset.checked_add(data.len() as u64).ok_or(Errno::EFBIG)?;
        i64::try_from(end).map_err(|_| Errno::EFBIG)?;
        let (mut done, mut tidied) = (0, false);
        while done < data.len() {
            match self.write_part(of, offset + done as u64, &data[done..]) {
                Ok(len) => done += len,
                Err(error) if is_full(error) && !tidied && of.tidy() => tidied = true,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    fn write_part(&mut self, of: &Data, at: u64, rest: &[u8]) -> Answer<usize> {
        let (block, within) = (at / BLOCK, at % BLOCK);
        let blocks = (within + rest.len() as u64).div_ceil(BLOCK);
        match self.extents.part(block) {
            Part::Data(piece) => {
                let len = (piece.len * BLOCK - within).min(rest.len() as u64) as usize;
                match of.backing.write(piece.at * BLOCK + within, &[IoSlice::new(&rest[..len])])? {
                    0 => Err(Errno::ENOSPC),
                    written => Ok(written),
                }
            }
            Part::Hole(room) => {
                let want = blocks.min(room.unwrap_or(blocks));
                let spare = if self.blocks < GROWING || room.is_some() { 0 } else { self.blocks.min(WINDOW) };
                let run = of.space.take(self.extents.goal(block), want, spare)?;
                let len = (run.len * BLOCK - within).min(rest.len() as u64) as usize;
                let (complete, written) = of.fill(run, within, &rest[..len])?;
                self.add(block, Piece { at: run.at, len: complete });
                Ok(written)
            }
        }
    }

    /// Makes room on the disk for the bytes from `from` to before `to`, which read as zeros where there was a hole.
    pub(crate) fn reserve(&mut self, of: &Data, from: u64, to: u64) -> Answer<()> {
        let (mut block, end) = (from / BLOCK, to.div_ceil(BLOCK));
        let mut tidied = false;
        while block < end {
            let len = match self.extents.part(block) {
                Part::Data(piece) => piece.len,
                Part::Hole(room) => {
                    let run =
                        of.space.take(self.extents.goal(block), (end - block).min(room.unwrap_or(u64::MAX)), 0)?;
                    let (at, len) = (run.at * BLOCK, run.len * BLOCK);
                    let clean = if run.clean { Ok(()) } else { of.backing.punch(at, len) };
                    if let Err(error) = clean.and_then(|()| of.backing.reserve(at, len)) {
                        of.release(&[(run.at, run.len)]);
                        if is_full(error) && !tidied && of.tidy() {
                            tidied = true;
                            continue;
                        }
                        return Err(error);
                    }
                    self.add(block, Piece { at: run.at, len: run.len });
                    run.len
                }
            };
            block += len;
        }
        Ok(())
    }

    /// Makes a hole of the bytes from `from` to before `to`; cutting a file is a hole that never ends.
    pub(crate) fn punch(&mut self, of: &Data, from: u64, to: u64) -> Answer<()> {
        let (first, last) = (from.div_ceil(BLOCK), to / BLOCK);
        if first > last {
            return self.zero(of, from, to);
        }
        self.zero(of, from, first.saturating_mul(BLOCK))?;
        if to < u64::MAX {
            self.zero(of, last * BLOCK, to)?;
        }
        let gone = if first < last { self.extents.remove(first, last) } else { Vec::new() };
        self.blocks -= gone.iter().map(|(_, len)| len).sum::<u64>();
        of.release(&gone);
        Ok(())
    }

    /// The next place from `offset` on that has data, or a hole, in a file with `size` bytes, which ends with a hole.
    pub(crate) fn seek(&self, size: u64, offset: u64, hole: bool) -> Answer<u64> {
        let mut at = offset;
        while at < size {
            let block = at / BLOCK;
            let len = match self.extents.part(block) {
                Part::Data(piece) if hole => piece.len,
                Part::Hole(Some(len)) if !hole => len,
                Part::Hole(None) if !hole => return Err(Errno::ENXIO),
                _ => return Ok(at),
            };
            at = (block + len) * BLOCK;
        }
        if hole && offset < size { Ok(size) } else { Err(Errno::ENXIO) }
    }

    /// Gives everything back.
    pub(crate) fn clear(&mut self, of: &Data) {
        let gone = std::mem::take(self).extents.remove(0, u64::MAX);
        of.release(&gone);
    }

    fn add(&mut self, block: u64, piece: Piece) {
        self.blocks += piece.len;
        self.extents.insert(block, piece);
    }

    /// Writes zeros over what is there of a part of one block.
    fn zero(&self, of: &Data, from: u64, to: u64) -> Answer<()> {
        if from < to
            && let Part::Data(piece) = self.extents.part(from / BLOCK)
        {
            let at = piece.at * BLOCK + from % BLOCK;
            let zeros = &ZEROS[..(to - from) as usize];
            let mut done = 0;
            while done < zeros.len() {
                match of.backing.write(at + done as u64, &[IoSlice::new(&zeros[done..])])? {
                    0 => return Err(Errno::ENOSPC),
                    written => done += written,
                }
            }
        }
        Ok(())
    }
}

/// Whether the disk has no more room, for anybody or for this user.
fn is_full(error: Errno) -> bool {
    matches!(error, Errno::ENOSPC | Errno::EDQUOT)
}
