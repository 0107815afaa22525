//! When what was changed is made to last.

use std::time::{Duration, Instant};

use condatainer_formats::ext::FileType;
use parking_lot::MutexGuard;

use super::base::Volume;
use super::orphan;
use crate::error::{Error, Result};
use crate::journal::{Journal, note_mount};
use crate::store::Store;

/// What was changed is committed when nothing was for so long,
const QUIET: Duration = Duration::from_secs(1);
/// and after so long in any case.
const LONGEST: Duration = Duration::from_secs(5);

const UNENDED: &str = "a commit was begun and did not end";

impl Volume {
    /// Makes everything last that was done before.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn commit(&self) -> Result<()> {
        let begun = self.flusher.begun();
        let mut journal = self.journal.lock();
        self.commit_with(&mut journal)?;
        self.flush_since(&mut journal, begun)
    }

    /// Makes an inode last, with its data and its name: fsync(2). `only_data`, as fdatasync(2), does without its times. Those who wait at
    /// the same time share a commit.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn sync(&self, ino: u32, only_data: bool) -> Result<()> {
        let begun = self.flusher.begun();
        let has_data = self.stat(ino).map_or(true, |stat| stat.kind != FileType::Directory);
        let wanted = self.store.lock().uncommitted_of(ino, only_data);
        let mut journal = self.journal.lock();
        if wanted.is_some_and(|tid| !journal.has_committed(tid)) {
            self.commit_with(&mut journal)?;
        } else if !has_data {
            // All that it has was in a transaction, and lasts since that was committed.
            return journal.check();
        }
        self.flush_since(&mut journal, begun)
    }

    /// Commits if it is time: a second after the last change, five after the first, and earlier where there is much. Returns when that will
    /// be; `None` when there is nothing to commit.
    ///
    /// # Errors
    /// The journal cannot be written, or could not be earlier, whoever was told then.
    pub fn commit_due(&self, now: Instant) -> Result<Option<Instant>> {
        let due = |store: &Store| match store.changed() {
            Some((first, _)) if store.is_half_full() => Some(first),
            Some((first, last)) => Some((last + QUIET).min(first + LONGEST)),
            None => None,
        };
        let next = {
            let store = self.store.lock();
            store.check()?;
            due(&store)
        };
        match next {
            Some(at) if at <= now => {
                self.commit_with(&mut self.journal.lock())?;
                Ok(due(&self.store.lock()))
            }
            next => Ok(next),
        }
    }

    /// Makes everything last, and leaves the image in order, as it is when it is unmounted. What is changed afterwards is a new mount.
    ///
    /// # Errors
    /// The journal cannot be written; the image is left to be replayed.
    pub fn close(&self) -> Result<()> {
        let mut journal = self.journal.lock();
        loop {
            self.commit_with(&mut journal)?;
            let mut store = self.store.lock();
            if store.uncommitted().is_none() {
                Self::or_abort(&mut store, journal.clean())?;
                store.reread_superblock();
                return Ok(());
            }
        }
    }

    /// The end: what has no name is deleted, whoever uses it, and the image is left in order, as by [`Self::close`]. No other thread can change
    /// anything from now on.
    ///
    /// # Errors
    /// The journal cannot be written; the image is left to be replayed.
    pub fn end(&self) -> Result<()> {
        let is_ours = {
            let mut store = self.store.lock();
            store.begin_end();
            store.check_thread().is_ok()
        };
        if !is_ours {
            return self.close();
        }
        self.users.forget_all();
        let cleaned = orphan::clean_up(self);
        self.close()?;
        cleaned
    }

    /// The store, once the running transaction has room for another change.
    pub(super) fn lock_for_change(&self) -> Result<MutexGuard<'_, Store>> {
        loop {
            let store = self.store.lock();
            store.check()?;
            store.check_thread()?;
            if !store.is_full() {
                return Ok(store);
            }
            drop(store);
            self.commit_with(&mut self.journal.lock())?;
        }
    }

    /// Commits what is to be committed. Tells whether there was anything.
    fn commit_with(&self, journal: &mut Journal) -> Result<bool> {
        journal.check()?;
        let frozen = {
            let mut store = self.store.lock();
            if store.is_committing() {
                // Whoever did it has panicked. What is on the disk may be anything between two states.
                store.abort(UNENDED.into());
                return Err(Error::Aborted(UNENDED.into()));
            }
            if store.uncommitted().is_none() {
                return Ok(false);
            }
            if journal.is_clean() {
                note_mount(&mut store)?;
            }
            store.freeze()
        };
        let done = journal.commit(&frozen);
        let mut store = self.store.lock();
        Self::or_abort(&mut store, done)?;
        store.committed();
        Ok(true)
    }

    /// Flushes, unless somebody has begun to after `begun` was asked for.
    fn flush_since(&self, journal: &mut Journal, begun: u64) -> Result<()> {
        journal.check()?;
        if self.flusher.begun() != begun {
            return Ok(());
        }
        let done = journal.flush();
        Self::or_abort(&mut self.store.lock(), done)
    }

    fn or_abort(store: &mut Store, done: Result<()>) -> Result<()> {
        if let Err(error) = &done {
            store.abort(match error {
                Error::Aborted(why) => why.clone(),
                other => other.to_string(),
            });
        }
        done
    }
}
