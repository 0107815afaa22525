//! Where the blocks of an image stand: in a transaction, in memory, on the device.

use std::io;
use std::mem;
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::Instant;

use condatainer_formats::source::read_exact_at;
use nix::errno::Errno;

use super::bytes::Bytes;
use super::kept::Kept;
use super::orphans::OrphanHints;
use super::pending::Pending;
use super::reserved::Reserved;
use super::room::Room;
use super::transaction::{Limits, Transaction};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::geometry::Geometry;

/// Memory for clean metadata, in bytes.
const KEPT: usize = 32 << 20;

/// A change needs no more blocks than these in the log, but for those that are cut into pieces by the handle's effort.
pub(crate) const HANDLE: usize = 96;

/// The metadata blocks of an image.
pub(crate) struct Store {
    pub(crate) device: Arc<dyn Device>,
    pub(crate) geometry: Arc<Geometry>,
    pub(super) running: Transaction,
    /// What is being written to the journal now; it does not change any more.
    committing: Option<Arc<Transaction>>,
    pub(super) kept: Kept,
    /// Memory for blocks that is used again.
    pub(super) spare: Vec<Vec<u8>>,
    /// Blocks that are free on paper.
    pub(super) pending: Pending,
    /// Blocks that are free and held for somebody.
    pub(crate) room: Arc<Room>,
    /// Who stands where in the list of orphans.
    pub(super) orphans: OrphanHints,
    /// Blocks for which there is room on the device.
    reserved: Reserved,
    limits: Limits,
    /// Why nothing can be changed any more.
    aborted: Option<String>,
    /// Who alone may change anything, since the end has begun.
    ending: Option<ThreadId>,
}

impl Store {
    /// Of an image whose journal will write transactions from `tid` on, within these limits.
    pub(crate) fn new(device: Arc<dyn Device>, geometry: Arc<Geometry>, tid: u32, limits: Limits) -> Self {
        let running = Transaction { tid, ..Transaction::default() };
        Self {
            device,
            geometry,
            running,
            committing: None,
            kept: Kept::new(KEPT),
            spare: Vec::new(),
            pending: Pending::default(),
            room: Arc::default(),
            orphans: OrphanHints::default(),
            reserved: Reserved::default(),
            limits,
            aborted: None,
            ending: None,
        }
    }

    /// The running transaction.
    #[cfg(test)]
    pub(crate) fn running(&self) -> &Transaction {
        &self.running
    }

    /// Whether the running transaction must be committed before another change begins.
    pub(crate) fn is_full(&self) -> bool {
        self.running.log_blocks(self.geometry.block_size()) + HANDLE > self.limits.soft || self.pending.is_full()
    }

    /// The number of the last transaction that has anything that is not committed.
    pub(crate) fn uncommitted(&self) -> Option<u32> {
        let running = Some(self.running.tid).filter(|_| !self.running.is_empty());
        running.or(self.committing.as_ref().map(|frozen| frozen.tid))
    }

    /// The number of the last transaction that has anything of an inode that is not committed.
    pub(crate) fn uncommitted_of(&self, ino: u32, only_data: bool) -> Option<u32> {
        let of = |transaction: &Transaction| Some(transaction.tid).filter(|_| transaction.has(ino, only_data));
        of(&self.running).or_else(|| self.committing.as_deref().and_then(of))
    }

    /// Something was changed at that time.
    pub(crate) fn note_change(&mut self, now: Instant) {
        let first = self.running.changed.map_or(now, |(first, _)| first);
        self.running.changed = Some((first, now));
    }

    /// When the running transaction was changed for the first and for the last time.
    pub(crate) fn changed(&self) -> Option<(Instant, Instant)> {
        self.running.changed.filter(|_| !self.running.is_empty())
    }

    /// Whether the running transaction is large enough to be committed, although there is room for more.
    pub(crate) fn is_half_full(&self) -> bool {
        self.running.log_blocks(self.geometry.block_size()) > self.limits.soft / 2
    }

    /// Whether a commit has begun that has not ended.
    pub(crate) fn is_committing(&self) -> bool {
        self.committing.is_some()
    }

    /// Nothing is changed any more, because the journal could not be written.
    pub(crate) fn abort(&mut self, why: String) {
        self.aborted = Some(why);
    }

    /// What the superblock says is read from the device when it is asked for the next time.
    pub(crate) fn reread_superblock(&mut self) {
        self.kept.forget(self.geometry.superblock_place().0);
    }

    /// Whether a commit would make blocks free that are not yet.
    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Ends the running transaction and begins the next: from now on what it has changed is being committed.
    pub(crate) fn freeze(&mut self) -> Arc<Transaction> {
        let next = Transaction { tid: self.running.tid.wrapping_add(1), ..Transaction::default() };
        let frozen = Arc::new(mem::replace(&mut self.running, next));
        self.committing = Some(Arc::clone(&frozen));
        frozen
    }

    /// The frozen transaction is committed, and its blocks are written to their places.
    pub(crate) fn committed(&mut self) {
        if let Some(frozen) = self.committing.take() {
            let still_used = frozen.blocks.iter().filter(|(block, _)| !self.running.revoked.contains(block));
            for (block, bytes) in still_used {
                self.kept.put(*block, bytes);
            }
            self.pending.committed(frozen.tid);
        }
    }

    /// What a block says now.
    pub(crate) fn block(&mut self, block: u64) -> Result<Bytes> {
        let running = self.running.blocks.get(&block);
        let committing = || self.committing.as_ref().and_then(|frozen| frozen.blocks.get(&block));
        if let Some(bytes) = running.or_else(committing) {
            return Ok(Arc::clone(bytes));
        }
        if let Some(bytes) = self.kept.get(block) {
            return Ok(bytes);
        }
        // Block 0 is the superblock's where blocks are large.
        if block >= self.geometry.sb.blocks_count {
            return Err(Error::corrupt(format!("a structure points to block {block}, which does not exist")));
        }
        let mut bytes = vec![0; self.geometry.block_size()];
        read_exact_at(&*self.device, &mut bytes, block * u64::from(self.geometry.sb.block_size))?;
        let bytes = Arc::new(bytes);
        self.kept.put(block, &bytes);
        Ok(bytes)
    }

    /// From now on only this thread can change anything, unless that is another one's already.
    pub(crate) fn begin_end(&mut self) {
        self.ending.get_or_insert_with(|| thread::current().id());
    }

    /// An error if this thread can change nothing any more.
    pub(crate) fn check_thread(&self) -> Result<()> {
        match self.ending {
            Some(only) if only != thread::current().id() => Err(Errno::EROFS.into()),
            _ => Ok(()),
        }
    }

    /// An error if nothing can be changed any more.
    pub(crate) fn check(&self) -> Result<()> {
        match &self.aborted {
            Some(why) => Err(Error::Aborted(why.clone())),
            None => Ok(()),
        }
    }

    /// Before a block is changed: the journal must be able to take it, and the device must have room for it.
    pub(super) fn prepare(&mut self, block: u64) -> Result<()> {
        self.check()?;
        if self.running.log_blocks(self.geometry.block_size()) >= self.limits.hard {
            return Err(io::Error::other("a change is too large for the journal").into());
        }
        // What is being committed has its room, and is perhaps written there now.
        let has_room = self.committing.as_ref().is_some_and(|frozen| frozen.blocks.contains_key(&block));
        if !has_room && !self.reserved.contains(&block) {
            let block_size = u64::from(self.geometry.sb.block_size);
            self.device.reserve(block * block_size, block_size)?;
            self.reserved.insert(block);
        }
        Ok(())
    }
}
