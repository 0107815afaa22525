//! Copies in which holes stay holes. An image of 10 GiB that holds 20 MiB costs 20 MiB, or nothing where the file system can share
//! blocks.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::copy_file_range;

use super::data::{PIECE, data, offset};

/// How much is copied between two looks at the progress, in bytes.
const STRIDE: u64 = 16 << 20;
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

/// The way that works everywhere.
pub(super) fn read_and_write(from: &File, to: &File, range: Range<u64>) -> io::Result<()> {
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
