//! Positioned reads within one window of a file, counted and bounded.
//!
//! A partition inside a SIF and a bare image look alike from here, and no header, however hostile, can make us read outside
//! the window or without end.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

pub use crate::ext::error::ExtError;

/// Something that can be read at an offset without a shared position.
pub trait ReadAt {
    /// Reads up to `buf.len()` bytes at `offset`; 0 means the end.
    ///
    /// # Errors
    /// The error of the operating system.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl ReadAt for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buf, offset)
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let count = rest.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.as_slice().read_at(buf, offset)
    }
}

/// The part of a file that holds a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Window {
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub size: u64,
}

impl Window {
    /// A whole file of `size` bytes.
    #[must_use]
    pub fn whole(size: u64) -> Self {
        Self { offset: 0, size }
    }

    /// The first byte behind the window, or `None` when that cannot be expressed.
    #[must_use]
    pub fn end(&self) -> Option<u64> {
        self.offset.checked_add(self.size)
    }
}

/// How much was read: what a benchmark of the probe reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effort {
    /// Number of read calls.
    pub reads: u64,
    /// Bytes asked for.
    pub bytes: u64,
}

/// A window of a reader that counts what is read and refuses to go beyond a budget.
pub(crate) struct Source<'a, R: ?Sized> {
    reader: &'a R,
    window: Window,
    budget: u64,
    effort: Cell<Effort>,
}

impl<'a, R: ReadAt + ?Sized> Source<'a, R> {
    pub(crate) fn new(reader: &'a R, window: Window, budget: u64) -> Self {
        Self { reader, window, budget, effort: Cell::new(Effort::default()) }
    }

    pub(crate) fn window(&self) -> Window {
        self.window
    }

    pub(crate) fn effort(&self) -> Effort {
        self.effort.get()
    }

    /// Fills `buf` from `offset` within the window, or fails: a short file system is an error, not a short buffer.
    pub(crate) fn read_into(&self, buf: &mut [u8], offset: u64) -> Result<(), ExtError> {
        let length = buf.len() as u64;
        let end = offset.checked_add(length).ok_or_else(|| self.outside(u64::MAX))?;
        if end > self.window.size {
            return Err(self.outside(end));
        }
        self.charge(length)?;
        let start = self.window.offset.checked_add(offset).ok_or_else(|| self.outside(end))?;
        read_exact_at(self.reader, buf, start).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => self.outside(end),
            _ => ExtError::Io(e),
        })
    }

    /// `length` bytes at `offset`; callers bound `length` by a block.
    pub(crate) fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, ExtError> {
        let mut buf = vec![0; length];
        self.read_into(&mut buf, offset)?;
        Ok(buf)
    }

    fn outside(&self, needed: u64) -> ExtError {
        ExtError::Truncated { needed, present: self.window.size }
    }

    fn charge(&self, bytes: u64) -> Result<(), ExtError> {
        let before = self.effort.get();
        let after = Effort { reads: before.reads + 1, bytes: before.bytes.saturating_add(bytes) };
        self.effort.set(after);
        if after.bytes > self.budget {
            return Err(ExtError::unsupported(format!(
                "a layout that takes more than {} bytes to look up",
                self.budget
            )));
        }
        Ok(())
    }
}

/// Reads exactly `buf.len()` bytes, going on after an interruption and after a short read.
pub fn read_exact_at<R: ReadAt + ?Sized>(reader: &R, buf: &mut [u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let at = offset.checked_add(done as u64).ok_or(io::ErrorKind::InvalidInput)?;
        match reader.read_at(rest, at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stay_inside_the_window() {
        let bytes: Vec<u8> = (0..32).collect();
        let source = Source::new(&bytes, Window { offset: 8, size: 8 }, 1000);
        assert_eq!(source.read(2, 2).unwrap(), [10, 11]);
        assert!(matches!(source.read(7, 2), Err(ExtError::Truncated { needed: 9, present: 8 })));
        assert!(matches!(source.read(u64::MAX, 2), Err(ExtError::Truncated { .. })));
        assert_eq!(source.effort(), Effort { reads: 1, bytes: 2 });
    }

    #[test]
    fn a_window_longer_than_the_file_is_truncation() {
        let source = Source::new(&[0u8; 4][..], Window::whole(100), 1000);
        assert!(matches!(source.read(0, 8), Err(ExtError::Truncated { .. })));
    }

    #[test]
    fn the_budget_ends_a_search() {
        let source = Source::new(&[0u8; 64][..], Window::whole(64), 20);
        assert!(source.read(0, 16).is_ok());
        assert!(matches!(source.read(0, 16), Err(ExtError::Unsupported(_))));
    }
}
