//! Signals: sets of them, what is blocked, and reading them one by one.

use super::call::call;
use super::numbers::{KILL, READ, RT_SIGPROCMASK, SIGNALFD4};

pub(crate) const SIGHUP: u8 = 1;
pub(crate) const SIGKILL: u8 = 9;
pub(crate) const SIGTERM: u8 = 15;
pub(crate) const SIGCHLD: u8 = 17;
pub(crate) const SIGSTOP: u8 = 19;
pub(crate) const SIGTSTP: u8 = 20;
/// The last one.
pub(crate) const LAST: u8 = 64;
pub(crate) const ALL: u64 = u64::MAX;
/// `sizeof(sigset_t)` of the kernel's.
pub(crate) const SET_BYTES: usize = 8;
/// `sizeof(struct signalfd_siginfo)`.
const INFO_BYTES: usize = 128;

/// What becomes of the signals in a set.
#[derive(Clone, Copy)]
pub(crate) enum Change {
    Block = 0,
    Unblock = 1,
    /// All others are let through.
    BlockOnly = 2,
}

pub(crate) fn set_of(signals: impl Iterator<Item = u8>) -> u64 {
    signals.map(|signal| 1 << (signal - 1)).sum()
}

pub(crate) fn change_mask(change: Change, set: u64) {
    // SAFETY: the set is alive, and what was blocked before is not asked for.
    let _ = unsafe { call(RT_SIGPROCMASK, [change as usize, &raw const set as usize, 0, SET_BYTES, 0, 0]) };
}

pub(crate) fn send(process: usize, signal: u8) {
    // SAFETY: it reads nothing.
    let _ = unsafe { call(KILL, [process, signal.into(), 0, 0, 0, 0]) };
}

/// A descriptor from which the signals of a set are read; they must be blocked.
pub(crate) fn descriptor(set: u64, flags: usize) -> Option<usize> {
    // SAFETY: the set is alive.
    unsafe { call(SIGNALFD4, [usize::MAX, &raw const set as usize, SET_BYTES, flags, 0, 0]) }.ok()
}

/// Takes one of them.
pub(crate) fn next(descriptor: usize) -> Option<u8> {
    let mut info = [0_u8; INFO_BYTES];
    // SAFETY: there is room for one signal.
    let read = unsafe { call(READ, [descriptor, info.as_mut_ptr() as usize, INFO_BYTES, 0, 0, 0]) };
    // The number is the first of four bytes; its order is that of both architectures.
    (read == Ok(INFO_BYTES)).then_some(info[0])
}
