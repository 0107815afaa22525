//! Between fork and exec: how slurmstepd's copies become the keeper and its warden.
//!
//! slurmstepd has threads, whose locks a copy of it may hold for ever. So the copies are made by the bare system call, which runs no
//! handlers of fork(3), and make nothing but system calls themselves; those that glibc would have all threads make
//! (setresuid(3)) by number.

use std::ffi::{c_char, c_int, c_long};
use std::os::fd::RawFd;

use condatainer_core::run::exit_code::NOT_STARTED;
use nix::errno::Errno;

/// Where the warden finds the gate, and where the keeper waits at it.
const GATE: c_int = 3;
/// Where the warden's file is kept until it is executed.
const FILE: c_int = 4;
/// Where [`put`] puts the warden's socket and the keeper's.
const MOVED: [RawFd; 2] = [0, 1];
/// Room for a number.
const DIGITS: usize = 12;
const SHUT_RDWR: c_int = libc::SHUT_RDWR;

/// All that is needed there. Descriptors are all above [`FILE`].
pub(super) struct Launch {
    /// The keeper's end of its socket.
    pub(super) keeper: RawFd,
    /// The warden's.
    pub(super) orders: RawFd,
    /// The null device.
    pub(super) nothing: RawFd,
    /// A pipe: the keeper reads, the warden writes.
    pub(super) gate: [RawFd; 2],
    pub(super) warden_file: RawFd,
    /// No open descriptor has this number or a higher one.
    pub(super) descriptors: c_int,
    pub(super) uid: libc::uid_t,
    pub(super) gid: libc::gid_t,
    pub(super) program: *const *const c_char,
    pub(super) environment: *const *const c_char,
    /// The warden's words, behind which comes the keeper's number.
    pub(super) warden: [*const c_char; 3],
}

/// fork(2) without the handlers of fork(3). 0 in the child.
///
/// # Safety
/// The child makes nothing but system calls, until it executes something or ends.
pub(super) unsafe fn fork_bare() -> Result<libc::pid_t, Errno> {
    // SAFETY: no new stack, no memory that is shared; the caller's promise about the child.
    let answer = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD as c_long, 0, 0, 0, 0) };
    libc::pid_t::try_from(answer).ok().filter(|child| *child >= 0).ok_or_else(Errno::last)
}

/// No descriptor of this process has this number or a higher one, but those that other threads open from now on.
pub(super) fn open_descriptors() -> c_int {
    /// Where /proc does not tell.
    const MANY: c_int = 65_536;
    table_size().map_or(MANY, |size| size.saturating_mul(2))
}

/// How many descriptors this process's table has room for (proc_pid_status(5)); it only grows.
fn table_size() -> Option<c_int> {
    let status = std::fs::read_to_string("/proc/thread-self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("FDSize:")?.trim().parse().ok())
}

/// There is going to be no warden and no keeper. slurmstepd may have a copy of both ends, so it would wait for an end of file that
/// does not come by itself; so would tasks that ask, also those whose question is there already.
///
/// # Safety
/// As [`Launch::run`].
unsafe fn hang_up(ends: [RawFd; 2]) {
    let mut byte = 0_u8;
    // SAFETY: system calls on sockets of this process's own; there is room for a byte.
    unsafe {
        for end in ends {
            libc::shutdown(end, SHUT_RDWR);
            while libc::recv(end, (&raw mut byte).cast(), 1, libc::MSG_DONTWAIT) > 0 {}
        }
    }
}

impl Launch {
    /// In a process that nobody else is in: leaves two more behind it, and ends.
    ///
    /// # Safety
    /// As [`fork_bare`]; it is called in the child. The lists are such as execve(2) takes.
    pub(super) unsafe fn run(&self) -> ! {
        // SAFETY: system calls, in a copy of this process that is its own.
        unsafe {
            libc::setsid();
            match fork_bare() {
                Ok(0) => self.become_warden(),
                Ok(_) => libc::_exit(0),
                Err(_) => libc::_exit(1),
            }
        }
    }

    /// # Safety
    /// As [`Launch::run`].
    unsafe fn become_warden(&self) -> ! {
        // SAFETY: as above. The keeper is forked while the groups are still the user's.
        unsafe {
            match fork_bare() {
                Ok(0) => self.become_keeper(),
                Ok(keeper) => {
                    self.execute_warden(keeper);
                    hang_up(MOVED);
                }
                Err(_) => hang_up([self.orders, self.keeper]),
            }
            libc::_exit(NOT_STARTED.into())
        }
    }

    /// # Safety
    /// As [`Launch::run`].
    unsafe fn execute_warden(&self, keeper: libc::pid_t) {
        let mut room = [0; DIGITS];
        let [name, verb, patience] = self.warden;
        let arguments = [name, verb, patience, decimal(keeper, &mut room), std::ptr::null()];
        let nothing: *const c_char = std::ptr::null();
        // SAFETY: as above; the lists end with a null pointer. The environment is empty: what is the user's must not reach a process of
        // root's.
        unsafe {
            become_root();
            libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>());
            put([self.orders, self.keeper, self.nothing, self.gate[1]]);
            libc::dup3(self.warden_file, FILE, libc::O_CLOEXEC);
            self.close_from(FILE + 1);
            clear_mask();
            let (path, arguments) = (c"".as_ptr(), arguments.as_ptr());
            libc::syscall(libc::SYS_execveat, FILE, path, arguments, &raw const nothing, libc::AT_EMPTY_PATH);
        }
    }

    /// # Safety
    /// As [`Launch::run`].
    unsafe fn become_keeper(&self) -> ! {
        // SAFETY: as above.
        unsafe {
            libc::setsid();
            put([self.keeper, self.nothing, self.nothing, self.gate[0]]);
            self.close_from(GATE + 1);
            clear_mask();
            become_root();
            // As a task's: with slurmstepd's the OOM killer would take anybody else for it. Root's hand also makes it the lowest one.
            let score = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            libc::write(score, c"0".as_ptr().cast(), 1);
            libc::close(score);
            // Nothing comes where there is no warden.
            let mut word = 0_u8;
            libc::read(GATE, (&raw mut word).cast(), 1);
            libc::close(GATE);
            let (user, group) = (self.uid, self.gid);
            if word != 0
                && libc::syscall(libc::SYS_setresgid, group, group, group) == 0
                && libc::syscall(libc::SYS_setresuid, user, user, user) == 0
            {
                libc::execve(*self.program, self.program, self.environment);
            }
            libc::_exit(NOT_STARTED.into())
        }
    }

    /// # Safety
    /// As [`Launch::run`].
    unsafe fn close_from(&self, first: c_int) {
        // SAFETY: what is closed is this process's own, and not used any more.
        unsafe {
            // Linux before 5.9 cannot close a range of them.
            if libc::syscall(libc::SYS_close_range, first, c_int::MAX, 0) != 0 {
                (first..self.descriptors).for_each(|number| {
                    libc::close(number);
                });
            }
        }
    }
}

/// Makes these the descriptors from 0 on.
///
/// # Safety
/// As [`Launch::run`].
unsafe fn put(descriptors: [RawFd; 4]) {
    for (number, descriptor) in (0..).zip(descriptors) {
        // SAFETY: a system call.
        unsafe { libc::dup2(descriptor, number) };
    }
}

/// The effective ids are the user's, the real ones are still root's.
///
/// # Safety
/// As [`Launch::run`].
unsafe fn become_root() {
    // SAFETY: system calls, of this one thread.
    unsafe {
        libc::syscall(libc::SYS_setresuid, 0, 0, 0);
        libc::syscall(libc::SYS_setresgid, 0, 0, 0);
    }
}

/// # Safety
/// As [`Launch::run`].
unsafe fn clear_mask() {
    // SAFETY: a set of no signals, as the kernel reads it.
    unsafe {
        let none = 0_u64;
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const none, 0, size_of::<u64>());
    }
}

/// A number as a string, without any allocation.
fn decimal(number: libc::pid_t, room: &mut [u8; DIGITS]) -> *const c_char {
    let mut rest = number;
    // The last byte stays NUL.
    let mut start = DIGITS - 1;
    while start > 0 {
        start -= 1;
        if let Some(place) = room.get_mut(start) {
            *place = b'0' + (rest % 10) as u8;
        }
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    room.as_ptr().wrapping_add(start).cast()
}

#[cfg(test)]
#[path = "launch_tests.rs"]
mod tests;
