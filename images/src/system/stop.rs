//! Being asked to stop: signals that are noted instead of ending the process, so that the work is brought to an end in order.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::system::process::Process;

/// What those note who are listening.
static LISTENERS: Mutex<Vec<Weak<AtomicUsize>>> = Mutex::new(Vec::new());

/// Notes SIGINT, SIGTERM and SIGHUP for as long as it lives, each unless it was ignored (`nohup`). What to do about it is its
/// owner's business: [`crate::temporary::on_signal::remove_on_signals`] keeps still meanwhile.
#[derive(Debug)]
pub struct Stop {
    /// The last signal that came; 0 while none did.
    asked: Arc<AtomicUsize>,
    _handlers: Handlers,
}

impl Stop {
    /// Listens from now on.
    ///
    /// # Errors
    /// The handlers cannot be set up.
    pub fn listen() -> io::Result<Self> {
        let asked = Arc::new(AtomicUsize::new(0));
        let mut handlers = Handlers(Vec::new());
        for signal in meant_for_us() {
            let number = usize::try_from(signal).unwrap_or_default();
            handlers.0.push(signal_hook::flag::register_usize(signal, asked.clone(), number)?);
        }
        // Not before: a signal must not find somebody who does not hear it yet.
        listeners(|all| all.push(Arc::downgrade(&asked)));
        Ok(Self { asked, _handlers: handlers })
    }

    /// Whether one of them came.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.signal().is_some()
    }

    /// The last of them that came.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        number(&self.asked)
    }
}

fn number(asked: &AtomicUsize) -> Option<i32> {
    i32::try_from(asked.load(Ordering::Relaxed)).ok().filter(|signal| *signal != 0)
}

#[derive(Debug)]
struct Handlers(Vec<SigId>);

impl Drop for Handlers {
    fn drop(&mut self) {
        for id in self.0.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}

/// Whether somebody notes signals and acts on them himself.
pub(crate) fn is_listened_to() -> bool {
    listeners(|all| !all.is_empty())
}

/// The signal that somebody has noted who is listening: for who is about to start something that is not wanted any more.
#[must_use]
pub fn noted() -> Option<i32> {
    listeners(|all| all.iter().filter_map(Weak::upgrade).find_map(|asked| number(&asked)))
}

fn listeners<T>(work: impl FnOnce(&mut Vec<Weak<AtomicUsize>>) -> T) -> T {
    let mut all = LISTENERS.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|one| one.strong_count() > 0);
    work(&mut all)
}

/// The signals that ask a program to end, without those that whoever started it had it ignore.
pub(crate) fn meant_for_us() -> impl Iterator<Item = i32> {
    not_ignored([SIGINT, SIGTERM, SIGHUP])
}

/// Of these signals those that whoever started this program did not have it ignore. A handler would end that for whatever is
/// executed from here as well: exec keeps what is ignored, and resets what is handled.
pub fn not_ignored(signals: impl IntoIterator<Item = i32>) -> impl Iterator<Item = i32> {
    let ignored = Process::this().signals("SigIgn");
    signals.into_iter().filter(move |signal| ignored & (1 << (signal - 1)) == 0)
}
