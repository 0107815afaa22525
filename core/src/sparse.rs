//! Copies a file without the holes in it: an image of 10 GiB that holds 20 MiB costs 20 MiB.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

/// Progress is told this often, in bytes.
const PIECE: u64 = 16 << 20;

/// Makes `to`, which is empty, the same as `from`. `progress` is told bytes copied and bytes to copy, roughly.
pub(crate) fn copy(from: &File, to: &File, progress: &mut dyn FnMut(u64, u64)) -> io::Result<()> {
    let meta = from.metadata()?;
    // Some file systems report fresh, unwritten data as holes.
    from.sync_data()?;
    to.set_len(meta.size())?;
    let total = meta.blocks().saturating_mul(512).min(meta.size());
    let (mut at, mut done) = (0, 0);
    while let Some((start, end)) = next_data(from, at, meta.size())? {
        at = start;
        while at < end {
            let length = (end - at).min(PIECE);
            copy_range(from, to, at, length)?;
            (at, done) = (at + length, done + length);
            progress(done.min(total), total);
        }
    }
    Ok(())
}

/// The next stretch of data at or behind `at`.
fn next_data(file: &File, at: u64, size: u64) -> io::Result<Option<(u64, u64)>> {
    let Some(start) = seek(file, at, Whence::SeekData)? else { return Ok(None) };
    let end = seek(file, start, Whence::SeekHole)?.unwrap_or(size).min(size);
    Ok((start < end).then_some((start, end)))
}

/// `None` where there is no more of it.
fn seek(file: &File, at: u64, whence: Whence) -> io::Result<Option<u64>> {
    let at = i64::try_from(at).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    match lseek(file, at, whence) {
        Ok(found) => Ok(u64::try_from(found).ok()),
        Err(Errno::ENXIO) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn copy_range(mut from: &File, mut to: &File, at: u64, length: u64) -> io::Result<()> {
    from.seek(SeekFrom::Start(at))?;
    to.seek(SeekFrom::Start(at))?;
    match io::copy(&mut from.take(length), &mut to)? {
        copied if copied == length => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn holes_stay_holes() {
        let (from, to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        from.set_len(1 << 30).unwrap();
        let data: Vec<u8> = (0..100_000_u32).map(|i| i as u8).collect();
        for at in [0, (20 << 20) + 4096, (1 << 30) - 100_000] {
            from.write_all_at(&data, at).unwrap();
        }
        let mut told = Vec::new();
        copy(&from, &to, &mut |done, total| told.push((done, total))).unwrap();
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
        copy(&from, &to, &mut |_, _| {}).unwrap();
        assert_eq!(to.metadata().unwrap().len(), 12_345);
    }
}
