//! Sparse files: where their data is, and copies in which holes stay holes. An image of 10 GiB that holds 20 MiB costs 20 MiB, or
//! nothing where the file system can share blocks.

mod dig;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::copy_file_range;
use nix::unistd::{Whence, lseek};

pub(crate) use dig::dig;

/// How much is copied between two looks at the progress, in bytes.
const STRIDE: u64 = 16 << 20;
/// What is read at once, in bytes. A multiple of every usual block size.
const PIECE: usize = 64 << 10;

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

/// Is told bytes done of bytes in all; an error of its own stops the copy.
pub(crate) type Tell<'a> = &'a mut dyn FnMut(u64, u64) -> io::Result<()>;

/// Makes `to`, which is empty, the same as `from`, in the cheapest way that there is.
pub(crate) fn copy(from: &File, to: &File, tell: Tell<'_>) -> io::Result<Copied> {
    if reflink(from, to)? {
        return Ok(Copied::Reflink);
    }
    copy_data(from, to, tell).map(|()| Copied::Copy)
}

/// Makes the empty file `to` share the blocks of `from`; false where the file system cannot.
pub(crate) fn reflink(from: &File, to: &File) -> io::Result<bool> {
    // Some file systems report fresh, unwritten data as holes, to whoever copies afterwards too.
    from.sync_data()?;
    Ok(rustix::fs::ioctl_ficlone(to, from).is_ok())
}

/// Copies the data of `from`, which is on disk, to the same places in the empty file `to`.
pub(crate) fn copy_data(from: &File, to: &File, tell: Tell<'_>) -> io::Result<()> {
    let length = from.metadata()?.len();
    to.set_len(length)?;
    let parts = data(from, 0..length);
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

/// Where `range` of `file` has data.
fn data(file: &File, range: Range<u64>) -> Vec<Range<u64>> {
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

fn offset(at: u64) -> io::Result<i64> {
    i64::try_from(at).map_err(io::Error::other)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    /// A file of 8 MiB with data at the start, in the middle and at the end.
    pub(crate) fn sparse() -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8 << 20).unwrap();
        for at in [0, (4 << 20) + 512, (8 << 20) - 700] {
            file.write_all_at(&[7; 700], at).unwrap();
        }
        file
    }

    pub(crate) fn content(file: &File) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn every_byte_is_copied() {
        let (from, to) = (sparse(), tempfile::tempfile().unwrap());
        let mut told = Vec::new();
        let mut tell = |done, total| {
            told.push((done, total));
            Ok(())
        };
        copy_data(&from, &to, &mut tell).unwrap();
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
        let error = copy_data(&from, &to, &mut |_, _| Err(io::ErrorKind::Interrupted.into())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
    }

    #[test]
    fn holes_stay_holes() {
        let (from, to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        from.set_len(1 << 30).unwrap();
        let data: Vec<u8> = (0..100_000_u32).map(|i| i as u8).collect();
        for at in [0, (20 << 20) + 4096, (1 << 30) - 100_000] {
            from.write_all_at(&data, at).unwrap();
        }
        let mut told = Vec::new();
        let mut tell = |done, total| {
            told.push((done, total));
            Ok(())
        };
        copy(&from, &to, &mut tell).unwrap();
        let meta = to.metadata().unwrap();
        assert!(meta.len() == 1 << 30 && meta.blocks() * 512 < 1 << 20, "{meta:?}");
        for at in [0, (20 << 20) + 4096, (1 << 30) - 100_000] {
            let mut back = vec![0; data.len()];
            to.read_exact_at(&mut back, at).unwrap();
            assert!(back == data, "at {at}");
        }
        assert!(told.is_sorted() && told.iter().all(|(done, total)| done <= total), "{told:?}");
    }

    #[test]
    fn nothing_but_a_hole() {
        let (from, to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        from.set_len(12_345).unwrap();
        copy(&from, &to, &mut |_, _| Ok(())).unwrap();
        assert_eq!(to.metadata().unwrap().len(), 12_345);
    }
}
