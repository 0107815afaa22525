//! What an image lies on: bytes that can be read and written at an offset, room that can be taken, and a flush.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

use condatainer_formats::source::{ReadAt, Window};
use rustix::fs::{FallocateFlags, SeekFrom, fallocate, fstat, seek};
use rustix::io::Errno;

/// So much is looked at or written at once where room is taken by writing, in bytes; no file system gives room in smaller pieces.
const PIECE: usize = 4096;

/// The bytes of a file system, from its first one on. Several threads may read and write at the same time.
pub trait Device: ReadAt {
    /// How long it is, in bytes.
    fn size(&self) -> u64;

    /// Writes all of `data` at `offset`.
    ///
    /// # Errors
    /// The error of the operating system; some of it may be written then.
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()>;

    /// Takes room for what will be written in a range. A later write there does not fail for want of it.
    ///
    /// # Errors
    /// There is no room (`ENOSPC`, `EDQUOT`).
    fn reserve(&self, offset: u64, length: u64) -> io::Result<()>;

    /// Returns when everything that was written before will survive a power cut.
    ///
    /// # Errors
    /// Some of it may be lost.
    fn flush(&self) -> io::Result<()>;
}

/// A window of a file.
#[derive(Debug)]
pub struct FileDevice {
    file: File,
    window: Window,
    /// The file system that it lies on reserves nothing (NFS before 4.2, some of FUSE): room is taken by writing.
    by_writing: AtomicBool,
}

impl FileDevice {
    /// The part of `file`, which is open for reading and writing, that `window` shows.
    #[must_use]
    pub fn new(file: File, window: Window) -> Self {
        Self { file, window, by_writing: AtomicBool::new(false) }
    }

    /// Takes room by writing from now on, as where the file system reserves nothing.
    #[must_use]
    pub fn by_writing(self) -> Self {
        self.by_writing.store(true, Ordering::Relaxed);
        self
    }

    /// Where a range lies in the file; nothing outside of the window is touched.
    fn place(&self, offset: u64, length: u64) -> io::Result<u64> {
        let end = offset.checked_add(length).filter(|end| *end <= self.window.size);
        end.and_then(|_| self.window.offset.checked_add(offset)).ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }
}

/// Taking room by writing. What lies in the range is written by nobody meanwhile.
impl FileDevice {
    fn write_room(&self, mut at: u64, length: u64) -> io::Result<()> {
        // Nothing of a file without holes needs room.
        let says = fstat(&self.file)?;
        if i128::from(says.st_blocks) * 512 >= i128::from(says.st_size) {
            return Ok(());
        }
        let end = at.saturating_add(length);
        while at < end {
            at = match seek(&self.file, SeekFrom::Data(at)) {
                Ok(data) if data > at => self.write_zeros(at..data.min(end))?,
                // The rest of the file is a hole.
                Err(Errno::NXIO) => self.write_zeros(at..end)?,
                Ok(_) => match seek(&self.file, SeekFrom::Hole(at)) {
                    // All is data, it says of a file with holes: it does not know.
                    Ok(hole) if hole >= says.st_size.cast_unsigned() => self.write_again(at..end)?,
                    Ok(hole) => hole.max(at + 1),
                    Err(_) => self.write_again(at..end)?,
                },
                Err(_) => self.write_again(at..end)?,
            };
        }
        Ok(())
    }

    /// Returns the end, as [`Self::write_again`].
    fn write_zeros(&self, range: Range<u64>) -> io::Result<u64> {
        self.each_piece(range, |piece, at| self.file.write_all_at(piece, at))
    }

    /// What reads as zeros may be a hole, and is written; anything else has its room.
    fn write_again(&self, range: Range<u64>) -> io::Result<u64> {
        self.each_piece(range, |piece, at| {
            self.file.read_exact_at(piece, at)?;
            if piece.iter().all(|byte| *byte == 0) { self.file.write_all_at(piece, at) } else { Ok(()) }
        })
    }

    fn each_piece(
        &self,
        range: Range<u64>,
        mut visit: impl FnMut(&mut [u8], u64) -> io::Result<()>,
    ) -> io::Result<u64> {
        // A piece lies in one block of the image, or in the journal.
        let mut piece = vec![0; PIECE];
        let mut at = range.start;
        while at < range.end {
            let length = PIECE.min(usize::try_from(range.end - at).unwrap_or(PIECE));
            visit(piece.get_mut(..length).unwrap_or_default(), at)?;
            at += length as u64;
        }
        Ok(range.end)
    }
}

impl ReadAt for FileDevice {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = self.window.size.saturating_sub(offset);
        let length = usize::try_from(rest).unwrap_or(usize::MAX).min(buf.len());
        let buf = buf.get_mut(..length).unwrap_or_default();
        FileExt::read_at(&self.file, buf, self.place(offset.min(self.window.size), length as u64)?)
    }
}

impl Device for FileDevice {
    fn size(&self) -> u64 {
        self.window.size
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(data, self.place(offset, data.len() as u64)?)
    }

    fn reserve(&self, offset: u64, length: u64) -> io::Result<()> {
        let at = self.place(offset, length)?;
        while !self.by_writing.load(Ordering::Relaxed) {
            match fallocate(&self.file, FallocateFlags::KEEP_SIZE, at, length) {
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.by_writing.store(true, Ordering::Relaxed),
                done => return done.map_err(Into::into),
            }
        }
        self.write_room(at, length)
    }

    fn flush(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn room_is_taken_by_writing_where_there_is_a_hole_and_content_stays() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        file.write_all_at(&[7; 10_000], 100_000).unwrap();
        let sectors = |file: &File| file.metadata().unwrap().blocks();
        let device = FileDevice::new(file.try_clone().unwrap(), Window::whole(1 << 20)).by_writing();
        let before = sectors(&file);
        device.reserve(90_112, 40_960).unwrap();
        assert!(sectors(&file) >= 80.max(before + 40), "{before} {}", sectors(&file));
        let mut content = vec![0; 1 << 20];
        file.read_exact_at(&mut content, 0).unwrap();
        assert!(content[100_000..110_000].iter().all(|byte| *byte == 7));
        assert_eq!(content.iter().filter(|byte| **byte != 0).count(), 10_000);
        device.reserve(0, 1 << 20).unwrap();
        assert_eq!(sectors(&file), 2048);
        // What does not know its holes.
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 16).unwrap();
        file.write_all_at(&[7; 10_000], 10_000).unwrap();
        let device = FileDevice::new(file.try_clone().unwrap(), Window::whole(1 << 16));
        device.write_again(0..1 << 16).unwrap();
        let mut content = vec![0; 1 << 16];
        file.read_exact_at(&mut content, 0).unwrap();
        assert_eq!((sectors(&file), content.iter().filter(|byte| **byte == 7).count()), (128, 10_000));
    }
}
