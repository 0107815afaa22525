//! What a volume consists of, and how it is changed: locks are taken in one order.

mod locks;
mod users;

use std::sync::Arc;
use std::time::Instant;

use condatainer_formats::ext::Time;
use nix::errno::Errno;
use nix::time::{ClockId, clock_gettime};
use parking_lot::Mutex;

use crate::device::Device;
use crate::error::{Error, Result};
use crate::geometry::Geometry;
use crate::journal::{Flusher, Journal};
use crate::store::{Handle, Store};
pub(super) use locks::ContentLocks;
pub(super) use users::Users;

/// An image that is open for writing.
pub struct Volume {
    pub(super) device: Arc<dyn Device>,
    pub(super) geometry: Arc<Geometry>,
    /// Locked before the store.
    pub(super) journal: Mutex<Journal>,
    pub(crate) store: Mutex<Store>,
    pub(super) flusher: Arc<Flusher>,
    pub(super) contents: ContentLocks,
    pub(super) users: Users,
    /// What has gone wrong, and nobody has been told.
    pub(super) untold: Mutex<Vec<Error>>,
}

impl Volume {
    /// Makes one change, whole or not at all.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Handle<'_>) -> Result<T>) -> Result<T> {
        let mut store = self.lock_for_change()?;
        let mut handle = store.begin();
        let value = change(&mut handle)?;
        let changes = handle.effort() > 0;
        handle.done();
        if changes {
            store.note_change(Instant::now());
        }
        Ok(value)
    }

    /// Looks at something, which changes nothing.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut Handle<'_>) -> Result<T>) -> Result<T> {
        let mut store = self.store.lock();
        look(&mut store.begin())
    }

    /// Tries what needs room, and again once what was freed before can be given away.
    pub(crate) fn with_room<T>(&self, attempt: impl Fn() -> Result<T>) -> Result<T> {
        match attempt() {
            Err(Error::Refused(Errno::ENOSPC)) => {
                // None are pending any more where another thread has committed them meanwhile.
                if self.store.lock().has_pending() {
                    self.commit()?;
                }
                attempt()
            }
            result => result,
        }
    }

    /// Makes one change that needs room.
    pub(crate) fn change_with_room<T>(&self, change: impl Fn(&mut Handle<'_>) -> Result<T>) -> Result<T> {
        self.with_room(|| self.change(&change))
    }
}

/// The kernel's own time of files, which is a little behind: what is written here is not newer than what is written elsewhere after it.
#[must_use]
pub fn now() -> Time {
    clock_gettime(ClockId::CLOCK_REALTIME_COARSE)
        .map(|time| Time { seconds: time.tv_sec(), nanoseconds: u32::try_from(time.tv_nsec()).unwrap_or(0) })
        .unwrap_or_default()
}
