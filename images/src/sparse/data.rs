//! Where a file has data, and where holes.

use std::fs::File;
use std::io;
use std::ops::Range;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

/// What is read at once, in bytes. A multiple of every usual block size.
pub(super) const PIECE: usize = 64 << 10;

/// Where `range` of `file` has data.
pub(super) fn data(file: &File, range: Range<u64>) -> Vec<Range<u64>> {
    let mut parts = Vec::new();
    let mut at = range.start;
    while let Some(part) = next_data(file, at, range.end) {
        at = part.end;
        parts.push(part);
    }
    parts
}

/// The next range of data in `from..end` of the file. A file system that does not know holes has none.
pub(crate) fn next_data(file: &File, from: u64, end: u64) -> Option<Range<u64>> {
    if from >= end {
        return None;
    }
    let start = match seek(file, from, Whence::SeekData) {
        Ok(start) if start >= end => return None,
        Ok(start) => start,
        Err(Errno::ENXIO) => return None,
        Err(_) => return Some(from..end),
    };
    let hole = seek(file, start, Whence::SeekHole).unwrap_or(end);
    // Someone may punch a hole between the two questions; then there is nothing to copy, but the search goes on.
    Some(start..hole.clamp(start + 1, end))
}

fn seek(file: &File, from: u64, whence: Whence) -> Result<u64, Errno> {
    let from = i64::try_from(from).map_err(|_| Errno::EOVERFLOW)?;
    lseek(file, from, whence).and_then(|at| u64::try_from(at).map_err(|_| Errno::EOVERFLOW))
}

/// As the system calls want it.
pub(super) fn offset(at: u64) -> io::Result<i64> {
    i64::try_from(at).map_err(io::Error::other)
}
