//! The system calls of a relay: one socket, and its signals.

use core::ffi::CStr;

use crate::freestanding::call::call;
use crate::freestanding::file::{AT_FDCWD, O_RDWR, read_next};
use crate::freestanding::message::{MSG_NOSIGNAL, Message, Part, Rights, SOL_SOCKET};
use crate::freestanding::numbers::{
    CONNECT, DUP3, FCNTL, GETPGID, GETPID, GETSOCKOPT, GETUID, IOCTL, OPENAT, PRLIMIT64, RT_SIGACTION, SENDMSG, SENDTO,
    SOCKET,
};
use crate::freestanding::poll::{self, Source};
use crate::freestanding::signals::{self, Change, SET_BYTES, SIGSTOP, SIGTSTP, change_mask, send, set_of};

const STREAMS: usize = 3;
const NULL: &CStr = c"/dev/null";
const F_GETFD: usize = 1;
const TIOCGPGRP: usize = 0x540F;
const AF_UNIX: u16 = 1;
const SOCK_STREAM: usize = 1;
const SO_PEERCRED: usize = 17;
const SIG_IGN: usize = 1;
const RLIMIT_CORE: usize = 4;

/// What comes next.
pub(crate) enum Event {
    Signal(u8),
    Answer([u8; 2]),
    /// The other end is gone.
    Closed,
    Nothing,
}

/// `struct sockaddr_un`.
#[repr(C)]
struct Address {
    family: u16,
    path: [u8; 108],
}

/// The connection to the keeper.
pub(crate) struct Socket {
    descriptor: usize,
}

impl Socket {
    /// To this abstract address, if somebody with our own id listens there: others must not get the streams.
    pub(crate) fn connect(name: &[u8]) -> Option<Self> {
        let mut address = Address { family: AF_UNIX, path: [0; 108] };
        address.path.get_mut(1..=name.len())?.copy_from_slice(name);
        let length = size_of::<u16>() + 1 + name.len();
        // SAFETY: it reads nothing.
        let descriptor = unsafe { call(SOCKET, [AF_UNIX.into(), SOCK_STREAM, 0, 0, 0, 0]) }.ok()?;
        // SAFETY: `length` bytes of the address are set.
        unsafe { call(CONNECT, [descriptor, &raw const address as usize, length, 0, 0, 0]) }.ok()?;
        let socket = Self { descriptor };
        (socket.peer()? == own_id()?).then_some(socket)
    }

    /// The user id of who listens, as this container counts.
    fn peer(&self) -> Option<u32> {
        let mut credentials = [0_u32; 3];
        let mut length = size_of_val(&credentials) as u32;
        let to = [&raw mut credentials as usize, &raw mut length as usize];
        // SAFETY: there is room for `length` bytes.
        let answer = unsafe { call(GETSOCKOPT, [self.descriptor, SOL_SOCKET as usize, SO_PEERCRED, to[0], to[1], 0]) };
        answer.ok().map(|_| credentials[1])
    }

    pub(crate) fn hand_over_streams(&self) -> bool {
        let part = Part { start: b"R".as_ptr(), length: 1 };
        let rights = Rights::of([0, 1, 2]);
        let message = Message::of(&raw const part, &raw const rights);
        // SAFETY: the message, its one part and its control data are alive.
        unsafe { call(SENDMSG, [self.descriptor, &raw const message as usize, MSG_NOSIGNAL, 0, 0, 0]) }.is_ok()
    }

    /// A loss shows when the answer is waited for.
    pub(crate) fn send(&self, byte: u8) {
        // SAFETY: one byte is read.
        let _ = unsafe { call(SENDTO, [self.descriptor, &raw const byte as usize, 1, MSG_NOSIGNAL, 0, 0]) };
    }

    fn answer(&self) -> Event {
        let mut bytes = [0; 2];
        match read_next(self.descriptor, &mut bytes) {
            2 => Event::Answer(bytes),
            _ => Event::Closed,
        }
    }
}

/// Those that srun waits for also where it was started to ignore them, as what a script runs in the background is: SIGHUP, SIGINT,
/// SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGTERM, SIGCONT.
const OF_SRUN: [u8; 8] = [1, 2, 3, 10, 12, 14, 15, 18];

/// All signals but those that the command would ignore; they are read one by one instead of ending this process.
pub(crate) struct Signals {
    set: u64,
    descriptor: Option<usize>,
}

impl Signals {
    pub(crate) fn hold(command: &[u8]) -> Self {
        let counts = |signal: &u8| !is_ignored(*signal) || (command == b"srun" && OF_SRUN.contains(signal));
        // A signal that is blocked is kept even where it is ignored.
        let set = set_of((1..=signals::LAST).filter(counts));
        change_mask(Change::Block, set);
        Self { set, descriptor: signals::descriptor(set, 0) }
    }

    /// Does what a terminal has asked the command to do.
    pub(crate) fn stop_for(&self, signal: u8) {
        if signal == SIGTSTP {
            send_myself(SIGSTOP);
        }
    }

    /// Ends by it as the command did, which has left the core file.
    pub(crate) fn die_by(&self, signal: u8) {
        let none = [0_u64; 2];
        // SAFETY: the limit is alive.
        let _ = unsafe { call(PRLIMIT64, [0, RLIMIT_CORE, &raw const none as usize, 0, 0, 0]) };
        change_mask(Change::Unblock, self.set);
        send_myself(signal);
    }
}

/// Waits for a signal or the keeper.
pub(crate) fn wait(held: &Signals, socket: &Socket) -> Event {
    let mut sources = [Source::new(Some(socket.descriptor)), Source::new(held.descriptor)];
    poll::wait(&mut sources, None);
    match sources.map(|source| source.is_ready()) {
        [_, true] => held.descriptor.and_then(signals::next).map_or(Event::Nothing, Event::Signal),
        [true, _] => socket.answer(),
        _ => Event::Nothing,
    }
}

/// A stream that is closed could not be handed over: the lowest free descriptor is its own.
pub(crate) fn open_missing_streams() {
    for stream in 0..STREAMS {
        // SAFETY: it reads nothing.
        if unsafe { call(FCNTL, [stream, F_GETFD, 0, 0, 0, 0]) }.is_err() {
            // SAFETY: the path is alive.
            let _ = unsafe { call(OPENAT, [AT_FDCWD, NULL.as_ptr() as usize, O_RDWR, 0, 0, 0]) };
        }
    }
}

/// In the background a terminal is not to be read: whoever tries is stopped. Out there it is nobody's terminal, so nothing would
/// stop the command, and it would take what is typed for the foreground.
pub(crate) fn leave_terminal_to_foreground() {
    let mut foreground = 0_i32;
    // SAFETY: there is room for the number.
    let asked = unsafe { call(IOCTL, [0, TIOCGPGRP, &raw mut foreground as usize, 0, 0, 0]) };
    // SAFETY: it reads nothing.
    let own = unsafe { call(GETPGID, [0; 6]) };
    if asked.is_err() || own == Ok(foreground as usize) {
        return;
    }
    // SAFETY: the path is alive.
    if let Ok(null) = unsafe { call(OPENAT, [AT_FDCWD, NULL.as_ptr() as usize, O_RDWR, 0, 0, 0]) } {
        // SAFETY: it reads nothing.
        let _ = unsafe { call(DUP3, [null, 0, 0, 0, 0, 0]) };
    }
}

fn own_id() -> Option<u32> {
    // SAFETY: it reads nothing.
    unsafe { call(GETUID, [0; 6]) }.ok().map(|id| id as u32)
}

fn send_myself(signal: u8) {
    // SAFETY: it reads nothing.
    if let Ok(own) = unsafe { call(GETPID, [0; 6]) } {
        send(own, signal);
    }
}

fn is_ignored(signal: u8) -> bool {
    // `struct sigaction` of the kernel: the handler comes first.
    let mut action = [0_usize; 4];
    let to = &raw mut action as usize;
    // SAFETY: there is room for one.
    let asked = unsafe { call(RT_SIGACTION, [signal.into(), 0, to, SET_BYTES, 0, 0]) };
    asked.is_ok() && action[0] == SIG_IGN
}
