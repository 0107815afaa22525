//! Sparse files: copying one so that its holes stay holes, and giving back what holds nothing but zeroes.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, copy_file_range, fallocate};
use nix::unistd::{Whence, lseek};

/// How much is copied between two looks at the progress, in bytes.
const STRIDE: u64 = 16 << 20;
/// What is read at once, in bytes.
const PIECE: usize = 64 << 10;
/// What is given back when all of it is zero, in bytes: the block of most file systems. An inode table begins right behind
/// bitmaps, and reserved space that was once read counts as data.
const BLOCK: usize = 4096;

/// How a copy was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Copied {
    /// By sharing the blocks with the original.
    Reflink,
    /// By copying the data; holes stayed holes.
    Copy,
    /// Not at all.
    None,
}

/// Makes the empty file `to` share the blocks of `from`; false where the file system cannot.
pub(super) fn reflink(from: &File, to: &File) -> bool {
    rustix::fs::ioctl_ficlone(to, from).is_ok()
}

/// Copies the data of `from` to the same places in the empty file `to`. `tell` is told bytes done of bytes in all; an error
/// of its own stops the copy.
pub(super) fn copy(from: &File, to: &File, tell: &mut dyn FnMut(u64, u64) -> io::Result<()>) -> io::Result<()> {
    let length = from.metadata()?.len();
    to.set_len(length)?;
    let parts = data(from, 0..length)?;
    let total = parts.iter().map(|part| part.end - part.start).sum();
    let mut done = 0;
    tell(done, total)?;
    for part in parts {
        let mut at = part.start;
        while at < part.end {
            let end = part.end.min(at + STRIDE);
            copy_range(from, to, at..end)?;
            done += end - at;
            at = end;
            tell(done, total)?;
        }
    }
    Ok(())
}

/// Where `range` of `file` has data. A file system that cannot tell says "everywhere".
fn data(file: &File, range: Range<u64>) -> io::Result<Vec<Range<u64>>> {
    let mut parts = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let Some(start) = next_data(file, at, range.end)? else { break };
        // Someone may punch a hole between the two questions; then there is nothing to copy, but the search goes on.
        let end = next_hole(file, start, range.end)?.max(start + 1);
        parts.push(start..end);
        at = end;
    }
    Ok(parts)
}

fn next_data(file: &File, at: u64, end: u64) -> io::Result<Option<u64>> {
    match lseek(file, offset(at)?, Whence::SeekData) {
        Ok(found) => Ok(u64::try_from(found).ok().filter(|&found| found < end)),
        Err(Errno::ENXIO) => Ok(None),
        Err(Errno::EINVAL | Errno::EOPNOTSUPP) => Ok(Some(at)),
        Err(errno) => Err(errno.into()),
    }
}

fn next_hole(file: &File, at: u64, end: u64) -> io::Result<u64> {
    match lseek(file, offset(at)?, Whence::SeekHole) {
        Ok(found) => Ok(u64::try_from(found).map_or(end, |found| found.min(end))),
        Err(Errno::ENXIO | Errno::EINVAL | Errno::EOPNOTSUPP) => Ok(end),
        Err(errno) => Err(errno.into()),
    }
}

/// In the kernel where that is possible; some file systems and old kernels do not copy from file to file.
fn copy_range(from: &File, to: &File, range: Range<u64>) -> io::Result<()> {
    let (mut source, mut target) = (offset(range.start)?, offset(range.start)?);
    while u64::try_from(source).is_ok_and(|at| at < range.end) {
        let left = range.end - u64::try_from(source).unwrap_or(range.end);
        let length = usize::try_from(left).unwrap_or(PIECE);
        match copy_file_range(from, Some(&mut source), to, Some(&mut target), length) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(Errno::EXDEV | Errno::EINVAL | Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EIO) => {
                return read_and_write(from, to, u64::try_from(source).unwrap_or(range.start)..range.end);
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn read_and_write(from: &File, to: &File, range: Range<u64>) -> io::Result<()> {
    let mut at = range.start;
    let mut buffer = vec![0; PIECE];
    while at < range.end {
        let length = usize::try_from(range.end - at).map_or(PIECE, |left| left.min(PIECE));
        let piece = buffer.get_mut(..length).unwrap_or_default();
        from.read_exact_at(piece, at)?;
        to.write_all_at(piece, at)?;
        at += length as u64;
    }
    Ok(())
}

/// Gives back the space of `range` wherever it holds nothing but zeroes. resize2fs reserves or even writes the inode tables of
/// new groups, which are empty. Only space is at stake, so failures do not count.
pub(super) fn dig(file: &File, range: Range<u64>) {
    // What is written but not yet on disk would be taken for data.
    let _ = file.sync_data();
    let Ok(parts) = data(file, range.clone()) else { return };
    let mut hole = range.start;
    for part in parts {
        punch(file, hole..part.start);
        hole = dig_data(file, &part);
    }
    punch(file, hole..range.end);
}

/// Digs within data; tells where the zeroes at its end begin.
fn dig_data(file: &File, part: &Range<u64>) -> u64 {
    let (mut at, mut hole) = (part.start, part.start);
    let mut buffer = vec![0; PIECE];
    while at < part.end {
        let end = part.end.min((at / PIECE as u64 + 1) * PIECE as u64);
        let piece = buffer.get_mut(..usize::try_from(end - at).unwrap_or(PIECE)).unwrap_or_default();
        let is_read = file.read_exact_at(piece, at).is_ok();
        for block in piece.chunks(BLOCK) {
            let next = at + block.len() as u64;
            if !is_read || block.iter().any(|&byte| byte != 0) {
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

fn offset(at: u64) -> io::Result<i64> {
    i64::try_from(at).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    /// A file of 8 MiB with data at the start, in the middle and at the end.
    fn sparse() -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8 << 20).unwrap();
        for at in [0, (4 << 20) + 512, (8 << 20) - 700] {
            file.write_all_at(&[7; 700], at).unwrap();
        }
        file
    }

    fn content(file: &File) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn holes_stay_holes() {
        let (from, to) = (sparse(), tempfile::tempfile().unwrap());
        let mut told = Vec::new();
        let mut tell = |done, total| {
            told.push((done, total));
            Ok(())
        };
        copy(&from, &to, &mut tell).unwrap();
        assert!(content(&from) == content(&to));
        assert!(to.metadata().unwrap().blocks() <= from.metadata().unwrap().blocks());
        assert!(told.is_sorted() && told.last().is_some_and(|(done, total)| done == total), "{told:?}");
    }

    #[test]
    fn reading_and_writing_copies_the_same() {
        let (from, to) = (sparse(), tempfile::tempfile().unwrap());
        read_and_write(&from, &to, 0..8 << 20).unwrap();
        assert!(content(&from) == content(&to));
    }

    #[test]
    fn a_copy_can_be_stopped() {
        let (from, to) = (sparse(), tempfile::tempfile().unwrap());
        let error = copy(&from, &to, &mut |_, _| Err(io::ErrorKind::Interrupted.into())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
    }

    #[test]
    fn zeroes_are_given_back() {
        let file = sparse();
        file.write_all_at(&vec![0; 1 << 20], 1 << 20).unwrap();
        fallocate(file.as_fd(), FallocateFlags::empty(), 5 << 20, 1 << 20).unwrap();
        let (before, blocks) = (content(&file), file.metadata().unwrap().blocks());
        dig(&file, 0..8 << 20);
        assert!(content(&file) == before);
        let now = file.metadata().unwrap().blocks();
        // Two MiB, but for what the file system needs to remember more pieces.
        assert!(now + 4000 <= blocks, "{blocks} blocks before, {now} now");
    }
}
