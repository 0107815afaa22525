//! The log: a ring of blocks, and the way through its transactions.

use super::block::{Kind, Tag, kind_of, tags};
use super::error::JournalError;
use super::superblock::{JournalSuperblock, ensure};
use crate::source::{ReadAt, read_exact_at};

/// An open log.
pub(super) struct Log<'a> {
    reader: &'a dyn ReadAt,
    pub(super) sb: &'a JournalSuperblock,
}

/// Where in the log one is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    at: u32,
    /// Blocks that were passed: no log is longer than once around.
    passed: u32,
    /// The transaction that is expected here.
    pub(super) sequence: u32,
}

impl<'a> Log<'a> {
    pub(super) fn new(reader: &'a dyn ReadAt, sb: &'a JournalSuperblock) -> Self {
        Self { reader, sb }
    }

    /// Block `at` of the journal.
    pub(super) fn block(&self, at: u32) -> Result<Vec<u8>, JournalError> {
        let mut block = vec![0; self.sb.block_size as usize];
        read_exact_at(self.reader, &mut block, u64::from(at) * u64::from(self.sb.block_size))?;
        Ok(block)
    }

    /// At the oldest transaction.
    pub(super) fn start(&self) -> Cursor {
        Cursor { at: self.sb.start, passed: 0, sequence: self.sb.sequence }
    }

    /// The block of the log's own at the cursor, which is then behind it. `None` where the log ends: what is there is no such block, or is
    /// of another transaction.
    pub(super) fn step(&self, cursor: &mut Cursor) -> Result<Option<(Kind, Vec<u8>)>, JournalError> {
        let block = self.block(cursor.at)?;
        match kind_of(&block) {
            Some((kind, sequence)) if sequence == cursor.sequence => {
                self.pass(cursor)?;
                Ok(Some((kind, block)))
            }
            _ => Ok(None),
        }
    }

    /// The tags of a descriptor block, with where the content of each lies; the cursor is behind them then.
    pub(super) fn described(&self, block: &[u8], cursor: &mut Cursor) -> Result<Vec<(Tag, u32)>, JournalError> {
        let mut all = Vec::new();
        for tag in tags(block, self.sb) {
            all.push((tag, cursor.at));
            self.pass(cursor)?;
        }
        Ok(all)
    }

    fn pass(&self, cursor: &mut Cursor) -> Result<(), JournalError> {
        let length = self.sb.last - self.sb.first;
        ensure(cursor.passed < length, "goes in circles")?;
        cursor.passed += 1;
        cursor.at = if cursor.at + 1 >= self.sb.last { self.sb.first } else { cursor.at + 1 };
        Ok(())
    }
}
