//! The thread that makes what was changed last, a second after the last change.
//!
//! Without it a program that never calls fsync(2) would lose all of its work when the machine fails.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use condatainer_writer::{Error, Volume};

/// How often is asked whether there is something to commit. A look costs a lock and nothing else.
const LOOK: Duration = Duration::from_millis(500);

/// The thread; it ends when this is told to.
pub struct Committer {
    end: Sender<()>,
    thread: JoinHandle<()>,
}

impl Committer {
    /// Starts it. `tell` gets what goes wrong, and what has gone wrong where nobody could be told.
    ///
    /// # Errors
    /// There are too many threads.
    pub fn start(volume: Arc<Volume>, tell: impl Fn(&Error) + Send + 'static) -> io::Result<Self> {
        let (end, ended) = mpsc::channel::<()>();
        let run = move || {
            let mut pause = LOOK;
            while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                // The volume keeps the error besides: every later change, fsync(2) and the end of the mount fail with it.
                let next = volume.commit_due(Instant::now()).inspect_err(&tell).ok().flatten();
                volume.untold().iter().for_each(&tell);
                pause = next.map_or(LOOK, |next| {
                    next.saturating_duration_since(Instant::now()).clamp(Duration::from_millis(1), LOOK)
                });
            }
        };
        Ok(Self { end, thread: Builder::new().name("commit".into()).spawn(run)? })
    }

    /// Ends it, and waits until what it has begun is done.
    pub fn end(self) {
        drop(self.end);
        let _ = self.thread.join();
    }
}
