//! The file system as programs see it.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::device::Device;
use crate::error::Result;
use crate::geometry::Geometry;
use crate::store::{Handle, Store};

/// An image that is open for writing.
pub struct Volume {
    store: Mutex<Store>,
}

impl Volume {
    /// Opens a file system: replays its journal, and carries out what is left of deletions.
    ///
    /// # Errors
    /// It is damaged, or has features that are not written.
    pub fn open(device: Arc<dyn Device>) -> Result<Self> {
        let geometry = Arc::new(Geometry::read(&*device, device.size())?);
        Ok(Self { store: Mutex::new(Store::new(device, geometry, 1)) })
    }

    /// Makes one change, whole or not at all.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Handle<'_>) -> Result<T>) -> Result<T> {
        let mut store = self.store.lock();
        let mut handle = store.begin();
        let value = change(&mut handle)?;
        handle.done();
        Ok(value)
    }
}
