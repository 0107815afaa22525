//! What the warden asks of the kernel.

use core::ffi::CStr;

use crate::freestanding::call::{call, uninterrupted};
use crate::freestanding::file::{AT_FDCWD, O_CLOEXEC, O_WRONLY, close, open, read_link, read_next};
use crate::freestanding::message::MSG_NOSIGNAL;
use crate::freestanding::numbers::{
    CHDIR, CLOCK_GETTIME, GETDENTS64, GETPID, MKDIRAT, PRCTL, RECVFROM, SENDTO, SHUTDOWN, UNLINKAT, WAIT4, WRITE,
};
use crate::freestanding::path;
use crate::freestanding::poll::{self, Source};
use crate::freestanding::process::{WNOHANG, call_itself};
use crate::freestanding::signals::{self, Change, SIGCHLD, change_mask, set_of};

/// The descriptors that the plugin has put here.
const ORDERS: usize = 0;
const KEEPER: usize = 1;
const GATE: usize = 3;

const AT_REMOVEDIR: usize = 0x200;
const SFD_NONBLOCK: usize = 0o4_000;
const PR_SET_CHILD_SUBREAPER: usize = 36;
const SHUT_RDWR: usize = 2;
const MSG_DONTWAIT: usize = 0x40;
const CLOCK_MONOTONIC: usize = 1;

/// How the warden's children are.
pub(crate) enum Child {
    /// There is none any more.
    None,
    /// One has ended with this exit code, or by a signal.
    Ended { process: usize, code: Option<u32> },
    /// None has ended since.
    Running,
}

/// Deaf to signals, at home nowhere, and the parent of whatever loses its own below.
pub(crate) fn prepare() {
    change_mask(Change::BlockOnly, signals::ALL);
    // SAFETY: the path is alive.
    let _ = unsafe { call(CHDIR, [c"/".as_ptr() as usize, 0, 0, 0, 0, 0]) };
    call_itself(c"warden");
    // SAFETY: it reads nothing.
    let _ = unsafe { call(PRCTL, [PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0, 0]) };
}

/// The keeper may go on.
pub(crate) fn open_gate() {
    // SAFETY: one byte is read.
    let _ = unsafe { call(WRITE, [GATE, b"g".as_ptr() as usize, 1, 0, 0, 0]) };
    close(GATE);
}

/// What has become of the children.
pub(crate) fn reap() -> Child {
    let mut status: u32 = 0;
    let arguments = [usize::MAX, &raw mut status as usize, WNOHANG, 0, 0, 0];
    // SAFETY: the status is alive, and what was used is not asked for.
    match uninterrupted(|| unsafe { call(WAIT4, arguments) }) {
        Ok(0) => Child::Running,
        // Wait status: the signal is below the exit code.
        Ok(process) => Child::Ended { process, code: Some(status >> 8).filter(|_| status & 0x7F == 0) },
        Err(_) => Child::None,
    }
}

/// The keeper is gone, and its end of the socket with it, of which slurmstepd may still have a copy. Tasks that ask are told so by the
/// end of the file, also those whose question was not read.
pub(crate) fn hang_up_keeper() {
    // SAFETY: it reads nothing.
    let _ = unsafe { call(SHUTDOWN, [KEEPER, SHUT_RDWR, 0, 0, 0, 0]) };
    let mut byte = 0_u8;
    // SAFETY: there is room for one byte; descriptors that come along find no room, and the kernel closes them.
    while unsafe { call(RECVFROM, [KEEPER, &raw mut byte as usize, 1, MSG_DONTWAIT, 0, 0]) }
        .is_ok_and(|count| count > 0)
    {}
}

/// Tells slurmstepd.
pub(crate) fn tell(byte: u8) {
    // SAFETY: one byte is read.
    let _ = unsafe { call(SENDTO, [ORDERS, &raw const byte as usize, 1, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0]) };
}

/// Milliseconds of a clock that only goes forward.
pub(crate) fn now() -> u64 {
    let mut time = [0_u64; 2];
    // SAFETY: there is room for the time.
    let _ = unsafe { call(CLOCK_GETTIME, [CLOCK_MONOTONIC, time.as_mut_ptr() as usize, 0, 0, 0, 0]) };
    time[0] * 1000 + time[1] / 1_000_000
}

/// Waits until a child ends, or so many milliseconds have passed; with `orders` also until the step is over, which is `true`.
pub(crate) fn wait(orders: bool, at_most: Option<u64>) -> bool {
    let signals = signals::descriptor(set_of([SIGCHLD].into_iter()), SFD_NONBLOCK | O_CLOEXEC);
    let mut sources = [Source::new(Some(ORDERS).filter(|_| orders)), Source::new(signals)];
    poll::wait(&mut sources, at_most);
    if let Some(signals) = signals {
        // It is taken, so that the next wait is one.
        let _ = signals::next(signals);
        close(signals);
    }
    sources[0].is_ready()
}

pub(crate) fn pause(milliseconds: u64) {
    poll::wait(&mut [], Some(milliseconds));
}

/// This process's number, if /proc counts as it does: it may be another pid namespace's.
pub(crate) fn number_in_proc() -> Option<usize> {
    let mut room = [0; 20];
    // SAFETY: it reads nothing.
    let own = unsafe { call(GETPID, [0; 6]) }.ok()?;
    let length = read_link(c"/proc/self", &mut room)?;
    room.get(..length).and_then(path::number).filter(|number| *number == own)
}

pub(crate) fn make_directory(path: &CStr) -> bool {
    // SAFETY: the path is alive.
    unsafe { call(MKDIRAT, [AT_FDCWD, path.as_ptr() as usize, 0o755, 0, 0, 0]) }.is_ok()
}

pub(crate) fn remove_directory(path: &CStr) -> bool {
    // SAFETY: the path is alive.
    unsafe { call(UNLINKAT, [AT_FDCWD, path.as_ptr() as usize, AT_REMOVEDIR, 0, 0, 0]) }.is_ok()
}

/// Writes into a file that is there.
pub(crate) fn write(path: &CStr, text: &[u8]) -> bool {
    let Some(file) = open(path, O_WRONLY) else { return false };
    // SAFETY: the text is alive.
    let written = unsafe { call(WRITE, [file, text.as_ptr() as usize, text.len(), 0, 0, 0]) };
    close(file);
    written == Ok(text.len())
}

/// All of a file, byte by byte; `false` where it cannot be opened.
pub(crate) fn read_all(path: &CStr, mut each: impl FnMut(u8)) -> bool {
    let Some(file) = open(path, 0) else { return false };
    let mut room = [0; 4096];
    loop {
        let count = read_next(file, &mut room);
        if count == 0 {
            break;
        }
        room.iter().take(count).for_each(|byte| each(*byte));
    }
    close(file);
    true
}

/// The entries of a directory, as getdents64(2) gives them.
pub(crate) fn list(path: &CStr, mut each: impl FnMut(&[u8])) {
    let Some(directory) = open(path, 0) else { return };
    let mut room = [0; 4096];
    // SAFETY: there is so much room.
    while let Ok(count @ 1..) =
        unsafe { call(GETDENTS64, [directory, room.as_mut_ptr() as usize, room.len(), 0, 0, 0]) }
    {
        each(room.get(..count).unwrap_or_default());
    }
    close(directory);
}
