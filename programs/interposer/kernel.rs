//! What the interposer asks of the kernel.

use core::ffi::CStr;

use crate::call::{call, execute, number};
use crate::path::{PATH_MAX, decimal, joined};
use crate::start::Started;

const READ: usize = number(0, 63);
const CLOSE: usize = number(3, 57);
const RT_SIGPROCMASK: usize = number(14, 135);
const CLONE: usize = number(56, 220);
const WAIT4: usize = number(61, 260);
const KILL: usize = number(62, 129);
const GETPPID: usize = number(110, 173);
const RT_SIGTIMEDWAIT: usize = number(128, 137);
const PRCTL: usize = number(157, 167);
const OPENAT: usize = number(257, 56);
const FACCESSAT: usize = number(269, 48);
const CLOSE_RANGE: usize = 436;

const AT_FDCWD: usize = -100_isize as usize;
const O_CLOEXEC: usize = 0o2_000_000;
const R_OK: usize = 4;
const CLOSE_ALL: [usize; 6] = [0, u32::MAX as usize, 0, 0, 0, 0];
const PR_SET_NAME: usize = 15;
const SIG_BLOCK: usize = 0;
const SIGNAL_SET_BYTES: usize = 8;
const SIGHUP: u32 = 1;
const SIGKILL: u32 = 9;
const SIGTERM: u32 = 15;
const SIGCHLD: u32 = 17;
const WNOHANG: usize = 1;
/// `sigcatch`, field 34 of proc_pid_stat(5), in decimal, behind the second field. proc_pid_status(5) has no end that is known: a
/// user's groups stand before the signals.
const CAUGHT_BEHIND_NAME: usize = 34 - 3;
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
        let (mut path, mut digits, mut text) = ([0; PATH_MAX], [0; 20], [0; 4096]);
        let path = joined(&mut path, &[b"/proc/", decimal(self.0, &mut digits), b"/stat"]);
        let stat = path.map_or(&[][..], |path| read(path, &mut text));
        // The name ends with the last bracket, and may hold anything. The lowest bit is that of the first signal.
        let words = stat.rsplit(|byte| *byte == b')').next().unwrap_or_default().split(|byte| *byte == b' ');
        let caught = words.filter(|word| !word.is_empty()).nth(CAUGHT_BEHIND_NAME).and_then(|digits| digits.last());
        caught.is_some_and(|digit| b"13579".contains(digit))
    }

    pub(crate) fn hang_up(&self) {
        self.send(SIGHUP);
    }

    pub(crate) fn kill(&self) {
        self.send(SIGKILL);
    }

    fn send(&self, signal: u32) {
        // SAFETY: it reads nothing.
        let _ = unsafe { call(KILL, [self.0, signal as usize, 0, 0, 0, 0]) };
    }
}

/// `None` in the child; and where there can be none, which goes without a guard then.
pub(crate) fn fork() -> Option<Process> {
    // SAFETY: a copy of everything, as of fork(2).
    let child = unsafe { call(CLONE, [SIGCHLD as usize, 0, 0, 0, 0, 0]) };
    child.ok().filter(|child| *child != 0).map(Process)
}

/// Waits until the parent has sent SIGTERM, which is `true`; or a child has ended, or so many milliseconds have passed.
pub(crate) fn asked_to_end(at_most: Option<u32>) -> bool {
    let set = set_of(&[SIGTERM, SIGCHLD]);
    let mut said = [0u32; 32];
    let time = at_most.map(|milliseconds| [u64::from(milliseconds / 1000), u64::from(milliseconds % 1000) * 1_000_000]);
    let time = time.as_ref().map_or(0, |time| time.as_ptr() as usize);
    // SAFETY: the set, what is said and the time are alive, and as large as the kernel's.
    let signal = unsafe {
        call(RT_SIGTIMEDWAIT, [&raw const set as usize, said.as_mut_ptr() as usize, time, SIGNAL_SET_BYTES, 0, 0])
    };
    // SAFETY: it reads nothing.
    let parent = unsafe { call(GETPPID, [0; 6]) };
    signal == Ok(SIGTERM as usize) && parent == Ok(said[SENDER] as usize)
}

/// Linux before 5.9 cannot close a range of them.
pub(crate) fn close_all_files() {
    // SAFETY: nothing that is open is used any more.
    if unsafe { call(CLOSE_RANGE, CLOSE_ALL) }.is_err() {
        (0..1024).for_each(close);
    }
}

fn close(file: usize) {
    // SAFETY: it is not used any more.
    let _ = unsafe { call(CLOSE, [file, 0, 0, 0, 0, 0]) };
}

/// The name that ps(1) and others show.
pub(crate) fn call_itself(name: &CStr) {
    // SAFETY: the name is alive.
    let _ = unsafe { call(PRCTL, [PR_SET_NAME, name.as_ptr() as usize, 0, 0, 0, 0]) };
}

/// Whether this file can be read.
pub(crate) fn is_readable(path: &CStr) -> bool {
    // SAFETY: the path is alive.
    unsafe { call(FACCESSAT, [AT_FDCWD, path.as_ptr() as usize, R_OK, 0, 0, 0]) }.is_ok()
}

/// The start of a file; nothing of one that cannot be read.
fn read<'a>(path: &CStr, room: &'a mut [u8]) -> &'a [u8] {
    // SAFETY: the path is alive.
    let file = unsafe { call(OPENAT, [AT_FDCWD, path.as_ptr() as usize, O_CLOEXEC, 0, 0, 0]) };
    // SAFETY: the room is alive, and so large.
    let read = |file| unsafe { call(READ, [file, room.as_mut_ptr() as usize, room.len(), 0, 0, 0]) };
    let count = file.and_then(read).unwrap_or(0);
    file.map_or((), close);
    room.get(..count).unwrap_or_default()
}

pub(crate) fn block_all_signals() {
    block(u64::MAX);
}

pub(crate) fn block_signals(signals: &[u32]) {
    block(set_of(signals));
}

fn set_of(signals: &[u32]) -> u64 {
    signals.iter().map(|signal| 1 << (signal - 1)).sum()
}

fn block(set: u64) {
    // SAFETY: the set is alive, and what was blocked before is not asked for.
    let _ = unsafe { call(RT_SIGPROCMASK, [SIG_BLOCK, &raw const set as usize, 0, SIGNAL_SET_BYTES, 0, 0]) };
}
