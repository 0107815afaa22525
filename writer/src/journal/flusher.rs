//! Flushes, counted: who waited while one began that covers what he wrote needs none of his own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::device::Device;

/// All flushes of an image go through here, while its journal is locked: the operating system tells an error only once.
pub(crate) struct Flusher {
    device: Arc<dyn Device>,
    begun: AtomicU64,
}

impl Flusher {
    pub(super) fn new(device: Arc<dyn Device>) -> Arc<Self> {
        Arc::new(Self { device, begun: AtomicU64::new(0) })
    }

    /// How many flushes have begun. One that begins later covers what was written before this was asked.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }

    pub(super) fn flush(&self) -> io::Result<()> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.device.flush()
    }
}
