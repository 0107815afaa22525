//! Being asked to stop: SIGINT and SIGTERM are noted instead of ending the process, so that the copy is taken away first.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::SigId;
use signal_hook::consts::{SIGINT, SIGTERM};

/// Listens for as long as it lives.
#[derive(Debug)]
pub(super) struct Stop {
    asked: Arc<AtomicBool>,
    ids: Vec<SigId>,
}

impl Stop {
    pub(super) fn listen() -> io::Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        let mut stop = Self { asked: asked.clone(), ids: Vec::new() };
        for signal in [SIGINT, SIGTERM] {
            stop.ids.push(signal_hook::flag::register(signal, asked.clone())?);
        }
        Ok(stop)
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        for id in self.ids.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}
