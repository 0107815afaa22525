//! What an image lies on: bytes that can be read and written at an offset, room that can be taken, and a flush.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use condatainer_formats::source::{ReadAt, Window};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

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

    /// Gives back the room of a range, which then reads as zeros. A device that cannot does nothing.
    ///
    /// # Errors
    /// The error of the operating system.
    fn discard(&self, offset: u64, length: u64) -> io::Result<()>;

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
}

impl FileDevice {
    /// The part of `file`, which is open for reading and writing, that `window` shows.
    #[must_use]
    pub fn new(file: File, window: Window) -> Self {
        Self { file, window }
    }

    /// Where a range lies in the file; nothing outside of the window is touched.
    fn place(&self, offset: u64, length: u64) -> io::Result<u64> {
        let end = offset.checked_add(length).filter(|end| *end <= self.window.size);
        end.and_then(|_| self.window.offset.checked_add(offset)).ok_or_else(|| io::ErrorKind::InvalidInput.into())
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
        loop {
            match fallocate(&self.file, FallocateFlags::KEEP_SIZE, at, length) {
                Err(Errno::INTR) => {}
                // Such a file system has no reservations; it tells at the write.
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(()),
                done => return done.map_err(Into::into),
            }
        }
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        let at = self.place(offset, length)?;
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE | FallocateFlags::PUNCH_HOLE, at, length) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            done => done.map_err(Into::into),
        }
    }

    fn flush(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
