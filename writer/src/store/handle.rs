//! One change of the file system: JBD2's handle. What it does counts together, once it is [`Handle::done`]; dropped before that, it has
//! never been. So whoever meets an error on the way simply returns it.

use std::mem;
use std::ops::Range;
use std::sync::Arc;

use condatainer_formats::ext::raw::RawSuperblock;
use rustc_hash::FxHashSet;
use zerocopy::FromBytes;

use super::bytes::Bytes;
use super::metadata::Store;
use super::orphans::OrphanHints;
use super::room::Room;
use crate::error::{Error, Result};
use crate::geometry::Geometry;

/// So much memory for blocks is kept at most to be used again, in blocks: a change needs some for as long as it lasts.
const SPARE: usize = 64;

/// A change that is being made.
pub(crate) struct Handle<'a> {
    store: &'a mut Store,
    /// What the running transaction said before of each block that was changed; `None` where it said nothing.
    before: Vec<(u64, Option<Bytes>)>,
    changed: FxHashSet<u64>,
    revoked_before: Vec<(u64, bool)>,
    freed: Vec<Range<u64>>,
    is_done: bool,
}

impl Store {
    /// Begins a change. What it does counts once it is [`Handle::done`].
    pub(crate) fn begin(&mut self) -> Handle<'_> {
        Handle::new(self)
    }
}

impl<'a> Handle<'a> {
    fn new(store: &'a mut Store) -> Self {
        let (before, revoked_before, freed) = (Vec::new(), Vec::new(), Vec::new());
        Self { store, before, changed: FxHashSet::default(), revoked_before, freed, is_done: false }
    }

    /// All of it counts.
    pub(crate) fn done(mut self) {
        let tid = self.store.running.tid;
        for blocks in mem::take(&mut self.freed) {
            self.store.pending.add(blocks, tid);
        }
        self.is_done = true;
        let before = mem::take(&mut self.before).into_iter().filter_map(|(_, bytes)| Arc::into_inner(bytes?));
        self.store.spare.extend(before.take(SPARE));
        self.store.spare.truncate(SPARE);
    }

    /// An inode is changed. Who asks for its data only must wait for that if it `matters_to_data`.
    pub(crate) fn touch(&mut self, ino: u32, matters_to_data: bool) {
        // A handle that is dropped leaves this, which costs somebody a commit.
        *self.store.running.inodes.entry(ino).or_default() |= matters_to_data;
    }

    pub(crate) fn geometry(&self) -> Arc<Geometry> {
        Arc::clone(&self.store.geometry)
    }

    /// Who holds which free blocks.
    pub(crate) fn room(&self) -> Arc<Room> {
        Arc::clone(&self.store.room)
    }

    /// Who stands where in the list of orphans.
    pub(crate) fn orphan_hints(&mut self) -> &mut OrphanHints {
        &mut self.store.orphans
    }

    /// How many blocks this handle has changed so far.
    pub(crate) fn effort(&self) -> usize {
        self.before.len()
    }

    /// What a block says now.
    pub(crate) fn block(&mut self, block: u64) -> Result<Bytes> {
        self.store.block(block)
    }

    /// A block that will be changed; room for it is taken on the device first.
    pub(crate) fn change(&mut self, block: u64) -> Result<&mut [u8]> {
        if !self.changed.contains(&block) {
            self.store.prepare(block)?;
            self.count_again(block);
            let first =
                if self.store.running.blocks.contains_key(&block) { None } else { Some(self.store.block(block)?) };
            self.note(block);
            if let Some(bytes) = first {
                // What nobody else has need not be copied. If this comes to nothing, it is read again.
                self.store.kept.forget(block);
                self.store.running.blocks.insert(block, bytes);
            }
        }
        self.open(block)
    }

    /// A block that was not one of the metadata's before; it is all zeros.
    pub(crate) fn fresh(&mut self, block: u64) -> Result<&mut [u8]> {
        self.store.prepare(block)?;
        self.note(block);
        self.count_again(block);
        let zeros = Arc::new(vec![0; self.store.geometry.block_size()]);
        self.store.running.blocks.insert(block, zeros);
        self.open(block)
    }

    /// A block is none of the metadata's any more. Copies of it in the journal must not be written over what it will hold.
    pub(crate) fn forget(&mut self, block: u64) {
        self.note(block);
        self.store.running.blocks.remove(&block);
        self.note_revoked(block);
        self.store.running.revoked.insert(block);
        self.store.kept.forget(block);
    }

    /// Blocks are free, and can be given away once that is committed. The bitmap is the caller's work.
    pub(crate) fn freed(&mut self, blocks: Range<u64>) {
        self.freed.push(blocks);
    }

    /// The first blocks in this range that are free in the bitmaps and may not be given away yet.
    pub(crate) fn pending_in(&self, range: Range<u64>) -> Option<Range<u64>> {
        let within = |run: &Range<u64>| run.start.max(range.start)..run.end.min(range.end);
        let own = self.freed.iter().map(within).filter(|run| !run.is_empty());
        own.chain(self.store.pending.first_in(range.clone())).min_by_key(|run| run.start)
    }

    /// The superblock as it is now.
    pub(crate) fn superblock(&mut self) -> Result<RawSuperblock> {
        let (block, within) = self.store.geometry.superblock_place();
        let bytes = self.store.block(block)?;
        let raw = bytes.get(within..).and_then(|bytes| RawSuperblock::read_from_prefix(bytes).ok());
        raw.map(|(raw, _)| raw).ok_or_else(|| Error::corrupt("the superblock is too short"))
    }

    /// Changes the superblock.
    pub(crate) fn change_superblock(&mut self, change: impl FnOnce(&mut RawSuperblock)) -> Result<()> {
        let (block, within) = self.store.geometry.superblock_place();
        let raw = self.change(block)?.get_mut(within..).and_then(|bytes| RawSuperblock::mut_from_prefix(bytes).ok());
        let (raw, _) = raw.ok_or_else(|| Error::corrupt("the superblock is too short"))?;
        change(raw);
        Ok(())
    }

    fn open(&mut self, block: u64) -> Result<&mut [u8]> {
        let gone = || Error::corrupt("a block is gone");
        let Store { running, spare, .. } = &mut *self.store;
        let bytes = running.blocks.get_mut(&block).ok_or_else(gone)?;
        if Arc::get_mut(bytes).is_none() {
            let mut copy = spare.pop().unwrap_or_default();
            copy.clear();
            copy.extend_from_slice(bytes);
            *bytes = Arc::new(copy);
        }
        Arc::get_mut(bytes).map(Vec::as_mut_slice).ok_or_else(gone)
    }

    fn note(&mut self, block: u64) {
        if self.changed.insert(block) {
            self.before.push((block, self.store.running.blocks.get(&block).cloned()));
        }
    }

    /// A block is written in this transaction: its new content counts, whatever was revoked.
    fn count_again(&mut self, block: u64) {
        if self.store.running.revoked.contains(&block) {
            self.note_revoked(block);
            self.store.running.revoked.remove(&block);
        }
    }

    fn note_revoked(&mut self, block: u64) {
        self.revoked_before.push((block, self.store.running.revoked.contains(&block)));
    }
}

impl Drop for Handle<'_> {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        for (block, before) in self.before.drain(..).rev() {
            match before {
                Some(bytes) => self.store.running.blocks.insert(block, bytes),
                None => self.store.running.blocks.remove(&block),
            };
        }
        for (block, was_revoked) in self.revoked_before.drain(..).rev() {
            if was_revoked {
                self.store.running.revoked.insert(block);
            } else {
                self.store.running.revoked.remove(&block);
            }
        }
    }
}
