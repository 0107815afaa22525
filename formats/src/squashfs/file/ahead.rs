//! Unpacking what a reader will ask for next, for threads that have nothing else to do.
//!
//! Whoever copies a tree reads its files in the order of the inode table: an image is written that way. So behind the rest of a file
//! comes the file whose inode is the next one.

use super::super::blocks::{Blocks, Position};
use super::super::error::SquashfsError;
use super::super::ids::IdTable;
use super::super::inode::{self, Body, Inode};
use super::pieces::{Marks, Piece, Pieces};
use crate::file::FileType;

/// So many inodes and holes are looked at, at most.
const STEPS: usize = 512;

/// Which block of an image a place in a file is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot(Option<Position>, u64);

impl Spot {
    pub(crate) fn of(blocks: &Blocks, file: &Inode, offset: u64) -> Self {
        let Body::File(body) = &file.body else { return Self(None, 0) };
        let whole = u64::from(blocks.sb.block_size);
        match body.fragment {
            Some((number, _)) if offset / whole >= file.size / whole => Self(None, u64::from(number)),
            _ => Self(Some(body.list), offset / whole),
        }
    }
}

/// Unpacks up to `bytes` of content from `offset` in `file` on, until `go_on` says no. It is asked before each block, and with true before each
/// further file.
pub(crate) fn prepare(
    (blocks, marks, ids): (&Blocks, &Marks, &IdTable),
    file: &Inode,
    offset: u64,
    bytes: usize,
    go_on: &dyn Fn(bool) -> bool,
) -> Result<(), SquashfsError> {
    let (mut left, mut steps, mut fragment) = (bytes, 0, None);
    let mut pieces = Pieces::of(blocks, file)?;
    pieces.go_to(offset / blocks.whole() as u64, marks)?;
    while left > 0 && steps < STEPS && go_on(false) {
        steps += 1;
        left = left.saturating_sub(match pieces.next()? {
            Some((Piece::Block(at, size), length)) => {
                blocks.prepare(at, size, length);
                length
            }
            Some((Piece::Fragment(number, _), _)) if fragment != Some(number) => {
                blocks.prepare_fragment(number);
                fragment = Some(number);
                blocks.whole()
            }
            Some(_) => 0,
            None if !go_on(true) => break,
            None => match behind(ids, pieces)? {
                Some(next) => {
                    pieces = Pieces::of(blocks, &next)?;
                    0
                }
                None => break,
            },
        });
    }
    Ok(())
}

/// The next file in the table, unless it lies behind a directory that has an index, or far away.
fn behind(ids: &IdTable, pieces: Pieces<'_>) -> Result<Option<Inode>, SquashfsError> {
    let Some(mut cursor) = pieces.behind()? else { return Ok(None) };
    for _ in 0..STEPS {
        let inode = inode::next(ids, &mut cursor)?;
        match inode.kind {
            FileType::Regular => return Ok(Some(inode)),
            FileType::Directory if inode.has_index() => return Ok(None),
            _ => {}
        }
    }
    Ok(None)
}
