//! Positioned reads within one window of a file, counted and bounded.
//!
//! No header, however hostile, can make us read outside of the window or without end.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::ext::error::ExtError;
use crate::source::{ReadAt, Window, read_exact_at};

/// How much was read: what a benchmark of the probe reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effort {
    /// Number of read calls.
    pub reads: u64,
    /// Bytes asked for.
    pub bytes: u64,
}

/// A window of a reader that counts what is read and refuses to go beyond a budget.
pub(crate) struct Source<'a> {
    reader: Box<dyn ReadAt + 'a>,
    window: Window,
    budget: u64,
    reads: AtomicU64,
    bytes: AtomicU64,
}

impl<'a> Source<'a> {
    pub(crate) fn new(reader: Box<dyn ReadAt + 'a>, window: Window, budget: u64) -> Self {
        Self { reader, window, budget, reads: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    pub(crate) fn window(&self) -> Window {
        self.window
    }

    pub(crate) fn effort(&self) -> Effort {
        Effort { reads: self.reads.load(Relaxed), bytes: self.bytes.load(Relaxed) }
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
        read_exact_at(self.reader.as_ref(), buf, start).map_err(|e| match e.kind() {
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
        self.reads.fetch_add(1, Relaxed);
        // It may wrap around after 16 million TiB: of what has a budget, far less is read.
        if self.bytes.fetch_add(bytes, Relaxed).wrapping_add(bytes) > self.budget {
            return Err(ExtError::unsupported(format!(
                "a layout that takes more than {} bytes to look up",
                self.budget
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stay_inside_the_window() {
        let bytes: Vec<u8> = (0..32).collect();
        let source = Source::new(Box::new(bytes), Window { offset: 8, size: 8 }, 1000);
        assert_eq!(source.read(2, 2).unwrap(), [10, 11]);
        assert!(matches!(source.read(7, 2), Err(ExtError::Truncated { needed: 9, present: 8 })));
        assert!(matches!(source.read(u64::MAX, 2), Err(ExtError::Truncated { .. })));
        assert_eq!(source.effort(), Effort { reads: 1, bytes: 2 });
    }

    #[test]
    fn a_window_longer_than_the_file_is_truncation() {
        let bytes = vec![0; 4];
        let source = Source::new(Box::new(bytes), Window::whole(100), 1000);
        assert!(matches!(source.read(0, 8), Err(ExtError::Truncated { .. })));
    }

    #[test]
    fn the_budget_ends_a_search() {
        let bytes = vec![0; 64];
        let source = Source::new(Box::new(bytes), Window::whole(64), 20);
        assert!(source.read(0, 16).is_ok());
        assert!(matches!(source.read(0, 16), Err(ExtError::Unsupported(_))));
    }
}
