//! Giving back what holds nothing but zeroes.

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use nix::fcntl::{FallocateFlags, fallocate};

use super::data::{PIECE, data, offset};

/// What is given back at once, in bytes: the usual block of file systems.
const BLOCK: usize = 4096;

/// Gives back the space of `range` wherever it holds nothing but zeroes. resize2fs reserves or even writes the inode tables of
/// new groups, which are empty. Only space is at stake, so failures do not count.
pub(crate) fn dig(file: &File, range: Range<u64>) {
    // What is written but not yet on disk would be taken for data.
    let _ = file.sync_data();
    let mut hole = range.start;
    for part in data(file, range.clone()) {
        punch(file, hole..part.start);
        hole = dig_data(file, &part);
    }
    punch(file, hole..range.end);
}

/// Digs within data, block by block, for the bitmaps of a group lie beside its empty table; tells where the zeroes at its end
/// begin.
fn dig_data(file: &File, part: &Range<u64>) -> u64 {
    let (mut at, mut hole) = (part.start, part.start);
    let mut buffer = vec![0; PIECE];
    while at < part.end {
        let end = part.end.min((at / PIECE as u64 + 1) * PIECE as u64);
        let piece = buffer.get_mut(..usize::try_from(end - at).unwrap_or(PIECE)).unwrap_or_default();
        if file.read_exact_at(piece, at).is_err() {
            punch(file, hole..at);
            hole = end;
        }
        for block in piece.chunks(BLOCK) {
            let next = at + block.len() as u64;
            if hole <= at && block.iter().any(|&byte| byte != 0) {
                punch(file, hole..at);
                hole = next;
            }
            at = next;
        }
    }
    hole
}

fn punch(file: &File, range: Range<u64>) {
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let length = offset(range.end.saturating_sub(range.start));
    if let (Ok(start), Ok(length @ 1..)) = (offset(range.start), length) {
        let _ = fallocate(file.as_fd(), flags, start, length);
    }
}
