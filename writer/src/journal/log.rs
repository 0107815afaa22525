//! The ring of blocks that transactions are written to.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use condatainer_formats::ext::raw::JournalMap;
use condatainer_formats::jbd2::{RawJournalSuperblock, encode};

use super::batch::Batch;
use super::flusher::Flusher;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::store::{Limits, Transaction};

/// Shorter logs are made by nobody; the kernel refuses them too.
const FEWEST: u32 = 1024;

/// An open log.
pub(super) struct Log {
    device: Arc<dyn Device>,
    flusher: Arc<Flusher>,
    map: JournalMap,
    sb: RawJournalSuperblock,
    block_size: usize,
    /// The blocks of the journal that are the log's.
    ring: Range<u32>,
    /// Where the next transaction begins.
    head: u32,
    /// Blocks from the tail, as the disk has it, to the head.
    used: u32,
    /// The disk says that something is in it, but not that it counts: somebody has taken only that away.
    is_stale: bool,
}

impl Log {
    /// An empty log.
    pub(super) fn new(
        device: Arc<dyn Device>,
        flusher: Arc<Flusher>,
        map: JournalMap,
        mut sb: RawJournalSuperblock,
        block_size: usize,
    ) -> Result<Self> {
        let is_stale = sb.s_start.get() != 0;
        sb.make_plain();
        let ring = sb.s_first.get()..sb.s_maxlen.get();
        if sb.s_maxlen.get() < FEWEST || ring.len() < FEWEST as usize / 2 {
            return Err(Error::corrupt(format!("its journal has fewer than {FEWEST} blocks")));
        }
        // It has no holes.
        for block in 0..ring.end {
            map.find(block.into())?;
        }
        let head = ring.start;
        Ok(Self { device, flusher, map, sb, block_size, ring, head, used: 0, is_stale })
    }

    fn length(&self) -> u32 {
        self.ring.end - self.ring.start
    }

    pub(super) fn pieces(&self) -> impl Iterator<Item = Range<u64>> {
        self.map.pieces()
    }

    pub(super) fn limits(&self) -> Limits {
        Limits::of_log(self.length() as usize, self.block_size)
    }

    /// Writes a transaction, and returns when it lasts. Those before it are in their places.
    pub(super) fn write(&mut self, transaction: &Transaction, is_first: bool) -> Result<()> {
        let (start, tid) = (self.head, transaction.tid);
        let size = u32::try_from(transaction.log_blocks(self.block_size)).unwrap_or(u32::MAX);
        if size.saturating_add(self.used) >= self.length() {
            return Err(io::Error::other("a transaction is larger than the journal").into());
        }
        let adds_revoke = !transaction.revoked.is_empty() && !self.sb.has_revoke();
        if adds_revoke {
            self.sb.set_revoke();
        }
        self.write_body(transaction)?;
        self.flusher.flush()?;
        // What was before this transaction is in its places for good now, and so is what says that the journal counts: e2fsck asks about a
        // log that has something and does not count.
        let moves_tail = is_first || self.used.saturating_add(size) > self.length() / 2;
        if moves_tail {
            self.set_tail(start, tid);
        }
        if moves_tail || adds_revoke {
            self.write_superblock()?;
        }
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.put_alone(&encode::commit(self.block_size, tid, time))?;
        self.flusher.flush()?;
        self.used = if moves_tail { size } else { self.used + size };
        Ok(())
    }

    /// Whether it must be cleared before the file system says that it counts.
    pub(super) fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// Nothing is in the log. The next transaction will be `tid`.
    pub(super) fn clear(&mut self, tid: u32) -> Result<()> {
        self.set_tail(0, tid);
        self.used = 0;
        self.is_stale = false;
        Ok(self.write_superblock()?)
    }

    /// Revoke blocks, and descriptors with what they describe.
    fn write_body(&mut self, transaction: &Transaction) -> Result<()> {
        let (device, tid, block_size) = (Arc::clone(&self.device), transaction.tid, self.block_size);
        let mut batch = Batch::new(&*device, block_size);
        let mut revoked = transaction.revoked.iter().map(|block| number(*block)).collect::<Result<Vec<_>>>()?;
        revoked.sort_unstable();
        for some in revoked.chunks(encode::numbers_per_revoke(block_size)) {
            self.put(&mut batch, &encode::revoke(block_size, tid, some))?;
        }
        let mut blocks: Vec<_> = transaction.blocks.iter().collect();
        blocks.sort_unstable_by_key(|(block, _)| **block);
        for some in blocks.chunks(encode::tags_per_descriptor(block_size)) {
            let tags = some.iter().map(|(block, bytes)| Ok((number(**block)?, encode::must_escape(bytes))));
            let tags = tags.collect::<Result<Vec<_>>>()?;
            self.put(&mut batch, &encode::descriptor(block_size, tid, &self.sb.s_uuid, &tags))?;
            for ((_, bytes), (_, is_escaped)) in some.iter().zip(&tags) {
                if !is_escaped {
                    self.put(&mut batch, bytes)?;
                    continue;
                }
                let mut escaped = bytes.to_vec();
                escaped.iter_mut().take(4).for_each(|byte| *byte = 0);
                self.put(&mut batch, &escaped)?;
            }
        }
        Ok(batch.end()?)
    }

    fn put_alone(&mut self, bytes: &[u8]) -> Result<()> {
        let device = Arc::clone(&self.device);
        let mut batch = Batch::new(&*device, self.block_size);
        self.put(&mut batch, bytes)?;
        Ok(batch.end()?)
    }

    fn put(&mut self, batch: &mut Batch<'_>, bytes: &[u8]) -> Result<()> {
        let (physical, _) = self.map.find(self.head.into())?;
        batch.put(physical, bytes)?;
        self.head = if self.head + 1 >= self.ring.end { self.ring.start } else { self.head + 1 };
        Ok(())
    }

    fn set_tail(&mut self, start: u32, tid: u32) {
        self.sb.s_start.set(start);
        self.sb.s_sequence.set(tid);
    }

    fn write_superblock(&self) -> io::Result<()> {
        let (physical, _) = self.map.find(0)?;
        self.device.write_at(self.sb.bytes(), physical * self.block_size as u64)
    }
}

/// Block numbers in the log have 32 bits, as those of ext3.
fn number(block: u64) -> Result<u32> {
    u32::try_from(block).map_err(|_| Error::corrupt(format!("block {block} does not exist")))
}
