//! Tests of what is made ready for the way from fork to exec.

use std::ffi::CStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use super::*;

#[test]
fn numbers_without_an_allocation() {
    for number in [0, 7, 10, 4_194_304, libc::pid_t::MAX] {
        let mut room = [0; DIGITS];
        // SAFETY: a string in `room`.
        let text = unsafe { CStr::from_ptr(decimal(number, &mut room)) };
        assert_eq!(text.to_str().unwrap(), number.to_string());
    }
}

/// Handlers of fork(3) may wait for the lock of a thread that the child has not got.
#[test]
fn no_handlers_run() {
    static RUN: AtomicU32 = AtomicU32::new(0);
    extern "C" fn handler() {
        RUN.fetch_add(1, Ordering::SeqCst);
    }
    // SAFETY: a handler that only counts.
    assert_eq!(unsafe { libc::pthread_atfork(Some(handler), None, None) }, 0);
    // SAFETY: the child ends at once.
    let child = unsafe {
        match fork_bare() {
            Ok(0) => libc::_exit(7),
            child => child.unwrap(),
        }
    };
    let child = Pid::from_raw(child);
    assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 7));
    assert_eq!(RUN.load(Ordering::SeqCst), 0);
}

/// Those that are closed one by one, where the kernel cannot close them together.
#[test]
fn the_highest_descriptor_is_counted() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let highest = i32::try_from(most.min(200_000)).unwrap() - 1;
    let file = File::open("/dev/null").unwrap();
    let high = fcntl(&file, FcntlArg::F_DUPFD_CLOEXEC(highest)).unwrap();
    // SAFETY: a new descriptor, which nobody else has.
    let high = unsafe { OwnedFd::from_raw_fd(high) };
    assert!(table_size().unwrap() > high.as_raw_fd() && open_descriptors() > high.as_raw_fd());
}

/// slurmstepd has a copy of the other end, so only a socket that is shut down tells it.
#[test]
fn a_warden_that_cannot_be_executed_is_waited_for_by_nobody() {
    let pair = || UnixStream::pair().unwrap();
    let ((tasks, keeper), (stepd, orders)) = (pair(), pair());
    let nothing = File::options().read(true).write(true).open("/dev/null").unwrap();
    let gate = nix::unistd::pipe().unwrap();
    let moved = |descriptor: &dyn AsFd| {
        let copy = fcntl(descriptor.as_fd(), FcntlArg::F_DUPFD_CLOEXEC(10)).unwrap();
        // SAFETY: a new descriptor, which nobody else has.
        unsafe { OwnedFd::from_raw_fd(copy) }
    };
    let all = [moved(&keeper), moved(&orders), moved(&nothing), moved(&gate.0), moved(&gate.1)];
    let [keeper_end, orders_end, null, waiting, opening] = all.each_ref().map(AsRawFd::as_raw_fd);
    let program = [c"/bin/true".as_ptr(), std::ptr::null()];
    let launch = Launch {
        keeper: keeper_end,
        orders: orders_end,
        nothing: null,
        gate: [waiting, opening],
        warden_file: null,
        descriptors: open_descriptors(),
        uid: nix::unistd::geteuid().as_raw(),
        gid: nix::unistd::getegid().as_raw(),
        program: program.as_ptr(),
        environment: program[1..].as_ptr(),
        warden: [c"condatainer".as_ptr(), c"warden".as_ptr(), c"1".as_ptr()],
    };
    // SAFETY: the child makes nothing but system calls, and ends in `run`; the lists are alive.
    let child = unsafe {
        match fork_bare() {
            Ok(0) => launch.run(),
            child => Pid::from_raw(child.unwrap()),
        }
    };
    assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
    for mut end in [tasks, stepd] {
        end.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        assert_eq!(end.read(&mut [0]).unwrap(), 0);
    }
    drop((keeper, orders));
}
