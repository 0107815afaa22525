//! What the interposer asks of the kernel.

use core::ffi::CStr;

use crate::freestanding::call::{call, execute};
use crate::freestanding::file::close;
use crate::freestanding::numbers::{CLONE, CLOSE_RANGE, GETPPID, RT_SIGTIMEDWAIT, WAIT4};
use crate::freestanding::poll::timespec;
use crate::freestanding::process::{Stat, WNOHANG};
use crate::freestanding::signals::{SET_BYTES, SIGCHLD, SIGHUP, SIGKILL, SIGTERM, send, set_of};
use crate::start::Started;

const CLOSE_ALL: [usize; 6] = [0, u32::MAX as usize, 0, 0, 0, 0];
/// The signals that a process handles, by proc_pid_stat(5), in decimal. proc_pid_status(5) has no end that is known: a user's groups
/// stand before the signals.
const SIGCATCH: usize = 34;
/// A signal's sender in `siginfo_t`, in words of 32 bits; all of it has 32 of them.
const SENDER: usize = 4;

impl Started {
    /// Becomes this file, called by its path; returns only the error number of a failure.
    pub(crate) fn become_file(&mut self, file: &CStr) -> i32 {
        // SAFETY: the first argument's place, or the null pointer's behind none; only the next call reads it.
        unsafe { self.arguments.write(file.as_ptr()) };
        // SAFETY: a path, and the lists that the kernel has handed over.
        unsafe { execute(file.as_ptr(), self.arguments.cast_const(), self.environment) }
    }
}

/// A child of this process.
pub(crate) struct Process(usize);

impl Process {
    /// How it has ended, if it has.
    pub(crate) fn ended(&self) -> Option<u8> {
        let mut status: u32 = 0;
        // SAFETY: the status is alive, and what it has used is not asked for.
        match unsafe { call(WAIT4, [self.0, &raw mut status as usize, WNOHANG, 0, 0, 0]) } {
            Ok(0) => None,
            // Wait status: a signal in the lowest 7 bits, or a code above the lowest 8.
            Ok(_) if status & 0x7f == 0 => Some((status >> 8) as u8),
            Ok(_) => Some(128 + (status & 0x7f) as u8),
            Err(_) => Some(crate::FAILED),
        }
    }

    /// Whether it does something of its own about SIGHUP: a FUSE program does while its mount is there.
    pub(crate) fn handles_hangup(&self) -> bool {
        let mut room = [0; 1024];
        let stat = Stat::of(self.0, &mut room);
        // The lowest bit is that of the first signal.
        let caught = stat.and_then(|stat| stat.field(SIGCATCH)).and_then(|digits| digits.last());
        caught.is_some_and(|digit| b"13579".contains(digit))
    }

    pub(crate) fn hang_up(&self) {
        send(self.0, SIGHUP);
    }

    pub(crate) fn kill(&self) {
        send(self.0, SIGKILL);
    }
}

/// `None` in the child; and where there can be none, which goes without a guard then.
pub(crate) fn fork() -> Option<Process> {
    // SAFETY: a copy of everything, as of fork(2).
    let child = unsafe { call(CLONE, [SIGCHLD as usize, 0, 0, 0, 0, 0]) };
    child.ok().filter(|child| *child != 0).map(Process)
}

/// Waits until the parent has sent SIGTERM, which is `true`; or a child has ended, or so many milliseconds have passed.
pub(crate) fn asked_to_end(at_most: Option<u64>) -> bool {
    let set = set_of([SIGTERM, SIGCHLD].into_iter());
    let mut said = [0u32; 32];
    let time = at_most.map(timespec);
    let time = time.as_ref().map_or(0, |time| time.as_ptr() as usize);
    // SAFETY: the set, what is said and the time are alive, and as large as the kernel's.
    let signal =
        unsafe { call(RT_SIGTIMEDWAIT, [&raw const set as usize, said.as_mut_ptr() as usize, time, SET_BYTES, 0, 0]) };
    // SAFETY: it reads nothing.
    let parent = unsafe { call(GETPPID, [0; 6]) };
    signal == Ok(SIGTERM.into()) && parent == Ok(said[SENDER] as usize)
}

/// Linux before 5.9 cannot close a range of them.
pub(crate) fn close_all_files() {
    // SAFETY: nothing that is open is used any more.
    if unsafe { call(CLOSE_RANGE, CLOSE_ALL) }.is_err() {
        (0..1024).for_each(close);
    }
}
