//! The journal, JBD2 as ext3 has it: how a transaction is made to last, and what is done after a crash.
//!
//! A commit has two flushes. Before the first one the log gets all blocks of the transaction, behind it the block that says that they
//! count; the data of files was written before either. Then the blocks are written to their places. These last with the next commit's first
//! flush, and only what lasts lets go of its part of the log: the tail, which the journal's superblock has, moves together with a commit block.
//! When an image is left, all of it is in its places and the log is empty. `log` writes the ring, `batch` neighbouring blocks together,
//! `superblock` marks the file system as one whose journal counts, and [`replay()`] is what a mount does first.

mod batch;
mod flusher;
mod log;
mod replay;
mod superblock;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use condatainer_formats::ext::ExtError;
use condatainer_formats::ext::raw::{Fs, JournalMap};
use condatainer_formats::source::{ReadAt, Window};

use crate::device::Device;
use crate::error::{Error, Result};
use crate::geometry::Geometry;
use crate::store::{Limits, Transaction};
use batch::Batch;
pub(crate) use flusher::Flusher;
use log::Log;
pub use replay::{Replayed, replay};
pub(crate) use superblock::note_mount;

const ABORTED: &str = "writing to a file system whose journal could not be written: it must be checked first (e2fsck)";

/// The journal of an open image.
pub(crate) struct Journal {
    device: Arc<dyn Device>,
    flusher: Arc<Flusher>,
    block_size: usize,
    log: Log,
    /// The last transaction that was committed.
    committed: u32,
    /// Nothing is in the log, and the superblock says so.
    is_clean: bool,
    /// Why nothing is written any more.
    aborted: Option<String>,
}

impl Journal {
    /// That of a file system whose journal was replayed. Takes room for all of it on the device.
    pub(crate) fn open(device: &Arc<dyn Device>, geometry: &Geometry) -> Result<Self> {
        let window = Window::whole(device.size());
        let reader: &dyn ReadAt = &**device;
        let map = JournalMap::of(&Fs::open(&reader, window, u64::MAX)?)?;
        let sb = map.superblock(reader, window)?;
        if sb.s_errno != 0 {
            return Err(Error::Image(ExtError::unsupported(ABORTED)));
        }
        let next = map.recover(reader, window)?.next_sequence;
        require_apart(&map)?;
        for piece in map.pieces() {
            geometry.require_free_for_files(piece.clone(), "the journal")?;
            let block_size = u64::from(geometry.sb.block_size);
            device.reserve(piece.start * block_size, (piece.end - piece.start) * block_size)?;
        }
        let (device, block_size, flusher) =
            (Arc::clone(device), geometry.block_size(), Flusher::new(Arc::clone(device)));
        let log = Log::new(Arc::clone(&device), Arc::clone(&flusher), map, sb, block_size)?;
        let committed = next.wrapping_sub(1);
        Ok(Self { device, flusher, block_size, log, committed, is_clean: true, aborted: None })
    }

    /// The number of the next transaction.
    pub(crate) fn next(&self) -> u32 {
        self.committed.wrapping_add(1)
    }

    /// Whether a transaction is committed.
    pub(crate) fn has_committed(&self, tid: u32) -> bool {
        self.committed.wrapping_sub(tid).cast_signed() >= 0
    }

    /// Where it lies, piece by piece.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = Range<u64>> {
        self.log.pieces()
    }

    /// What counts the flushes.
    pub(crate) fn flusher(&self) -> Arc<Flusher> {
        Arc::clone(&self.flusher)
    }

    /// How large a transaction may be.
    pub(crate) fn limits(&self) -> Limits {
        self.log.limits()
    }

    /// Whether nothing was written since the image was opened, or left.
    pub(crate) fn is_clean(&self) -> bool {
        self.is_clean
    }

    /// An error if the journal could not be written earlier.
    pub(crate) fn check(&self) -> Result<()> {
        match &self.aborted {
            Some(why) => Err(Error::Aborted(why.clone())),
            None => Ok(()),
        }
    }

    /// Makes a transaction last, and writes its blocks to their places.
    ///
    /// # Errors
    /// Nothing can be committed any more. After a crash the transaction counts, or it does not.
    pub(crate) fn commit(&mut self, transaction: &Transaction) -> Result<()> {
        self.check()?;
        let done = self.try_commit(transaction);
        self.or_abort(done)
    }

    fn try_commit(&mut self, transaction: &Transaction) -> Result<()> {
        if self.is_clean {
            if self.log.is_stale() {
                // Before it counts again, or a crash would bring back what it has.
                self.log.clear(transaction.tid)?;
                self.flusher.flush()?;
            }
            superblock::mark_in_use(&*self.device)?;
        }
        self.log.write(transaction, self.is_clean)?;
        self.is_clean = false;
        self.committed = transaction.tid;
        self.checkpoint(transaction)
    }

    /// Returns when everything that was written before lasts.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.check()?;
        let done = self.flusher.flush().map_err(Error::from);
        self.or_abort(done)
    }

    /// Leaves the image in order: everything is in its place, the log is empty. All that was changed is committed.
    ///
    /// # Errors
    /// It is left with a journal to be replayed.
    pub(crate) fn clean(&mut self) -> Result<()> {
        self.check()?;
        if self.is_clean {
            return Ok(());
        }
        let done = self.try_clean();
        self.or_abort(done)
    }

    fn try_clean(&mut self) -> Result<()> {
        self.flusher.flush()?;
        self.log.clear(self.next())?;
        self.flusher.flush()?;
        superblock::mark_clean(&*self.device)?;
        self.flusher.flush()?;
        self.is_clean = true;
        Ok(())
    }

    /// Writes the blocks of a committed transaction to their places.
    fn checkpoint(&self, transaction: &Transaction) -> Result<()> {
        let mut blocks: Vec<_> = transaction.blocks.iter().collect();
        blocks.sort_unstable_by_key(|(block, _)| **block);
        let mut batch = Batch::new(&*self.device, self.block_size);
        for (block, bytes) in blocks {
            batch.put(*block, bytes)?;
        }
        Ok(batch.end()?)
    }

    /// What is on the disk may be anything between two states now, and what a flush has lost once no later one tells.
    fn or_abort(&mut self, done: Result<()>) -> Result<()> {
        if let Err(error) = &done {
            self.aborted = Some(error.to_string());
        }
        done
    }
}

/// No block is the journal's twice.
fn require_apart(map: &JournalMap) -> Result<()> {
    let mut pieces: Vec<_> = map.pieces().collect();
    pieces.sort_unstable_by_key(|piece| piece.start);
    match pieces.is_sorted_by(|one, next| one.end <= next.start) {
        true => Ok(()),
        false => Err(Error::corrupt("its journal has a block twice")),
    }
}
