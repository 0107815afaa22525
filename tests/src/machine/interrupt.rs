//! Ctrl-C and the like: the running machines are ended, whatever waits for them fails, and the tool then cleans up on its
//! ordinary way out instead of leaving that to the next start.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

static RUNNING: Mutex<Vec<i32>> = Mutex::new(Vec::new());
static RECEIVED: AtomicI32 = AtomicI32::new(0);

/// Makes SIGINT, SIGTERM and SIGHUP end all machines of this process, each unless it was ignored (`nohup`); a second one ends the
/// process at once (its machines then die with it). By handlers, not by blocking: what we start would inherit a mask. What was ignored
/// gets a handler that does nothing: what we start would inherit that, too.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn stop_on_signals() -> Result<()> {
    let ignored = ignored();
    let is_ignored = |signal: i32| ignored & (1 << (signal - 1)) != 0;
    let (inherited, ours): (Vec<i32>, Vec<i32>) =
        [SIGINT, SIGTERM, SIGHUP, SIGQUIT].into_iter().partition(|signal| is_ignored(*signal));
    for signal in inherited {
        signal_hook::flag::register(signal, Arc::default()).context("cannot handle signals")?;
    }
    let ends = ours.into_iter().filter(|signal| *signal != SIGQUIT);
    let mut signals = Signals::new(ends).context("cannot handle signals")?;
    thread::spawn(move || {
        for signal in signals.forever() {
            if RECEIVED.swap(signal, Ordering::SeqCst) != 0 {
                std::process::exit(128 + signal);
            }
            for init in running().iter() {
                let _gone_already = kill(Pid::from_raw(*init), Signal::SIGKILL);
            }
        }
    });
    Ok(())
}

/// What whoever started this process has had it ignore, a bit for each signal.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Whether what this process starts would ignore signals. SIGPIPE is no matter: the standard library sets it right.
pub(crate) fn ignores_signals() -> bool {
    static IGNORES: OnceLock<bool> = OnceLock::new();
    *IGNORES.get_or_init(|| ignored() & !(1 << (SIGPIPE - 1)) != 0)
}

/// The signal that ended the machines of this process, if one did.
#[must_use]
pub fn signal_received() -> Option<i32> {
    Some(RECEIVED.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
}

pub(crate) fn register(init: i32) {
    running().push(init);
}

pub(crate) fn forget(init: i32) {
    running().retain(|other| *other != init);
}

fn running() -> MutexGuard<'static, Vec<i32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}
