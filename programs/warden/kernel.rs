//! What the warden asks of the kernel.

use core::ffi::CStr;

use crate::call::{call, number};
use crate::path;

const READ: usize = number(0, 63);
const WRITE: usize = number(1, 64);
const CLOSE: usize = number(3, 57);
const RT_SIGPROCMASK: usize = number(14, 135);
const ACCESS: usize = number(269, 48);
const GETPID: usize = number(39, 172);
const SENDTO: usize = number(44, 206);
const RECVFROM: usize = number(45, 207);
const SHUTDOWN: usize = number(48, 210);
const WAIT4: usize = number(61, 260);
const KILL: usize = number(62, 129);
const CHDIR: usize = number(80, 49);
const PRCTL: usize = number(157, 167);
const GETDENTS64: usize = number(217, 61);
const CLOCK_GETTIME: usize = number(228, 113);
const OPENAT: usize = number(257, 56);
const MKDIRAT: usize = number(258, 34);
const UNLINKAT: usize = number(263, 35);
const READLINKAT: usize = number(267, 78);
const PPOLL: usize = number(271, 73);
const SIGNALFD4: usize = number(289, 74);

/// The descriptors that the plugin has put here.
const ORDERS: usize = 0;
const KEEPER: usize = 1;
const GATE: usize = 3;

const AT_FDCWD: usize = -100_isize as usize;
const AT_REMOVEDIR: usize = 0x200;
const O_WRONLY: usize = 1;
const O_CLOEXEC: usize = 0o2_000_000;
const ALL_SIGNALS: u64 = u64::MAX;
const SIGCHLD: u64 = 17;
const SIGKILL: usize = 9;
const SIG_SETMASK: usize = 2;
const SIGNAL_SET_BYTES: usize = 8;
/// `sizeof(struct signalfd_siginfo)`.
const SIGNAL_BYTES: usize = 128;
const SFD_NONBLOCK: usize = 0o4_000;
const PR_SET_NAME: usize = 15;
const PR_SET_CHILD_SUBREAPER: usize = 36;
const SHUT_RDWR: usize = 2;
const MSG_DONTWAIT: usize = 0x40;
const MSG_NOSIGNAL: usize = 0x4000;
const WNOHANG: usize = 1;
const CLOCK_MONOTONIC: usize = 1;
const POLLIN: i16 = 1;
const EINTR: i32 = 4;

/// How the warden's children are.
pub(crate) enum Child {
    /// There is none any more.
    None,
    /// One has ended with this exit code, or by a signal.
    Ended { process: usize, code: Option<u32> },
    /// None has ended since.
    Running,
}

/// `struct pollfd`.
#[repr(C)]
struct Source {
    descriptor: i32,
    wanted: i16,
    found: i16,
}

/// Deaf to signals, at home nowhere, and the parent of whatever loses its own below.
pub(crate) fn prepare() {
    let all = ALL_SIGNALS;
    // SAFETY: the set is alive, and what was blocked before is not asked for.
    let _ = unsafe { call(RT_SIGPROCMASK, [SIG_SETMASK, &raw const all as usize, 0, SIGNAL_SET_BYTES, 0, 0]) };
    // SAFETY: the path is alive.
    let _ = unsafe { call(CHDIR, [c"/".as_ptr() as usize, 0, 0, 0, 0, 0]) };
    // SAFETY: the name is alive.
    let _ = unsafe { call(PRCTL, [PR_SET_NAME, c"warden".as_ptr() as usize, 0, 0, 0, 0]) };
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
    loop {
        // SAFETY: the status is alive, and what was used is not asked for.
        match unsafe { call(WAIT4, [usize::MAX, &raw mut status as usize, WNOHANG, 0, 0, 0]) } {
            Ok(0) => return Child::Running,
            // Wait status: the signal is below the exit code.
            Ok(process) => return Child::Ended { process, code: Some(status >> 8).filter(|_| status & 0x7F == 0) },
            Err(EINTR) => {}
            Err(_) => return Child::None,
        }
    }
}

pub(crate) fn kill(process: usize) {
    // SAFETY: it reads nothing.
    let _ = unsafe { call(KILL, [process, SIGKILL, 0, 0, 0, 0]) };
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
    let set: u64 = 1 << (SIGCHLD - 1);
    let to = [&raw const set as usize, SIGNAL_SET_BYTES, SFD_NONBLOCK | O_CLOEXEC];
    // SAFETY: the set is alive.
    let signals = unsafe { call(SIGNALFD4, [usize::MAX, to[0], to[1], to[2], 0, 0]) };
    // A negative descriptor is not looked at.
    let source = |descriptor: Option<usize>| Source {
        descriptor: descriptor.map_or(-1, |d| d as i32),
        wanted: POLLIN,
        found: 0,
    };
    let mut sources = [source(Some(ORDERS).filter(|_| orders)), source(signals.ok())];
    let time = at_most.map(|milliseconds| [milliseconds / 1000, milliseconds % 1000 * 1_000_000]);
    let time = time.as_ref().map_or(0, |time| time.as_ptr() as usize);
    // SAFETY: the sources and the time are alive.
    let _ = unsafe { call(PPOLL, [&raw mut sources as usize, sources.len(), time, 0, SIGNAL_SET_BYTES, 0]) };
    if let Ok(signals) = signals {
        let mut info = [0_u8; SIGNAL_BYTES];
        // SAFETY: there is room for one signal; it is taken, so that the next wait is one.
        let _ = unsafe { call(READ, [signals, info.as_mut_ptr() as usize, SIGNAL_BYTES, 0, 0, 0]) };
        close(signals);
    }
    sources[0].found != 0
}

pub(crate) fn pause(milliseconds: u64) {
    let time = [0, milliseconds * 1_000_000];
    // SAFETY: the time is alive, and no source is looked at.
    let _ = unsafe { call(PPOLL, [0, 0, time.as_ptr() as usize, 0, SIGNAL_SET_BYTES, 0]) };
}

/// This process's number, if /proc counts as it does: it may be another pid namespace's.
pub(crate) fn number_in_proc() -> Option<usize> {
    let mut room = [0; 20];
    // SAFETY: it reads nothing.
    let own = unsafe { call(GETPID, [0; 6]) }.ok()?;
    let to = [c"/proc/self".as_ptr() as usize, room.as_mut_ptr() as usize, room.len()];
    // SAFETY: the path is alive, and there is so much room.
    let length = unsafe { call(READLINKAT, [AT_FDCWD, to[0], to[1], to[2], 0, 0]) }.ok()?;
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

pub(crate) fn is_there(path: &CStr) -> bool {
    // SAFETY: the path is alive.
    unsafe { call(ACCESS, [AT_FDCWD, path.as_ptr() as usize, 0, 0, 0, 0]) }.is_ok()
}

/// Writes into a file that is there.
pub(crate) fn write(path: &CStr, text: &[u8]) -> bool {
    let Some(file) = open(path, O_WRONLY) else { return false };
    // SAFETY: the text is alive.
    let written = unsafe { call(WRITE, [file, text.as_ptr() as usize, text.len(), 0, 0, 0]) };
    close(file);
    written == Ok(text.len())
}

/// The start of a file; nothing of one that cannot be read.
pub(crate) fn read<'a>(path: &CStr, room: &'a mut [u8]) -> &'a [u8] {
    let Some(file) = open(path, 0) else { return &[] };
    let count = read_into(file, room);
    close(file);
    room.get(..count).unwrap_or_default()
}

/// All of a file, byte by byte; `false` where it cannot be opened.
pub(crate) fn read_all(path: &CStr, mut each: impl FnMut(u8)) -> bool {
    let Some(file) = open(path, 0) else { return false };
    let mut room = [0; 4096];
    loop {
        let count = read_into(file, &mut room);
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

fn open(path: &CStr, how: usize) -> Option<usize> {
    // SAFETY: the path is alive.
    unsafe { call(OPENAT, [AT_FDCWD, path.as_ptr() as usize, how | O_CLOEXEC, 0, 0, 0]) }.ok()
}

fn read_into(file: usize, room: &mut [u8]) -> usize {
    // SAFETY: the room is alive, and so large.
    unsafe { call(READ, [file, room.as_mut_ptr() as usize, room.len(), 0, 0, 0]) }.unwrap_or(0)
}

fn close(file: usize) {
    // SAFETY: it is not used any more.
    let _ = unsafe { call(CLOSE, [file, 0, 0, 0, 0, 0]) };
}
