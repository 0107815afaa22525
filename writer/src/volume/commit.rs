//! When what was changed is made to last.

use parking_lot::MutexGuard;

use super::Volume;
use crate::error::{Error, Result};
use crate::journal::{Journal, note_mount};
use crate::store::Store;

impl Volume {
    /// Makes everything last that was done before.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn commit(&self) -> Result<()> {
        let mut journal = self.journal.lock();
        if self.commit_with(&mut journal)? {
            return Ok(());
        }
        // Data may have been written nevertheless.
        let done = journal.flush();
        Self::or_abort(&mut self.store.lock(), done)
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

    /// The store, once the running transaction has room for another change.
    pub(super) fn lock_for_change(&self) -> Result<MutexGuard<'_, Store>> {
        loop {
            let store = self.store.lock();
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
