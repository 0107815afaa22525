//! The blocks of a directory.

use std::collections::HashSet;
use std::ops::ControlFlow;

use crate::ext::blocks::map::{physical_block, walk};
use crate::ext::error::ExtError;
use crate::ext::fs::Fs;
use crate::ext::inode::{Inode, flag};
use crate::ext::superblock::Superblock;
use crate::file::FileType;

/// Refuses directories whose entries are not in plain blocks; `what` names it.
///
/// # Errors
/// No directory, or one that is kept in another way.
pub fn check_plain(dir: &Inode, what: &str) -> Result<(), ExtError> {
    let refuse = |why: &str| Err(ExtError::unsupported(format!("{why} for {what}")));
    if dir.file_type() != FileType::Directory {
        return Err(ExtError::corrupt(format!("{what} is not a directory")));
    }
    match dir.i_flags.get() {
        f if f & flag::INLINE_DATA != 0 => refuse("inline_data"),
        f if f & flag::ENCRYPT != 0 => refuse("encrypt"),
        f if f & flag::CASEFOLD != 0 => refuse("casefold"),
        _ => Ok(()),
    }
}

/// Number of blocks of a directory.
#[must_use]
pub fn block_count(sb: &Superblock, dir: &Inode) -> u64 {
    dir.size().div_ceil(u64::from(sb.block_size))
}

/// Block `logical` of a directory: its number on disk, and its bytes. A hole is damage: taken for emptiness, it would let an absurd size
/// keep us here.
///
/// # Errors
/// A hole, a broken map, or it cannot be read.
pub fn read_block(fs: &Fs<'_>, dir: &Inode, logical: u64) -> Result<(u64, Vec<u8>), ExtError> {
    let number = physical_block(fs, dir, logical)?.ok_or_else(hole)?;
    Ok((number, fs.read_block(number, "a directory")?))
}

/// Calls `visit` with each block of a directory, in order, until it breaks.
///
/// No block may come twice, so an absurd size and pointers that go in circles end when the blocks of the file system do.
///
/// # Errors
/// A hole, a block that comes twice, a broken map, or what `visit` says.
pub(super) fn each_block(
    fs: &Fs<'_>,
    dir: &Inode,
    mut visit: impl FnMut(&[u8]) -> Result<ControlFlow<()>, ExtError>,
) -> Result<ControlFlow<()>, ExtError> {
    let (count, mut next, mut seen) = (block_count(&fs.sb, dir), 0, HashSet::new());
    let mut outcome = ControlFlow::Continue(());
    walk(fs, dir, 0..count, &mut |run| {
        if run.logical != next {
            return Err(hole());
        }
        next += run.blocks;
        let mut left = run.physical..run.physical + run.blocks;
        while !left.is_empty() && outcome.is_continue() {
            let count = (left.end - left.start).min(fs.together());
            let piece = fs.blocks(left.start, count, "a directory")?;
            for (block, bytes) in (left.start..).zip(piece.chunks(fs.sb.block_size as usize)) {
                if !seen.insert(block) {
                    return Err(ExtError::corrupt("a directory has the same block twice"));
                }
                outcome = visit(bytes)?;
                if outcome.is_break() {
                    break;
                }
            }
            left.start += count;
        }
        Ok(outcome)
    })?;
    if outcome.is_continue() && next < count { Err(hole()) } else { Ok(outcome) }
}

fn hole() -> ExtError {
    ExtError::corrupt("a directory has a hole")
}
