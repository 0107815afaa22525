//! The keeper of a step's container, as slurmstepd sees it: how it is started, and how it is told that the step is over.
//!
//! It is the user's process, but none of those that Slurm signals, counts and kills: forked twice, it is nobody's child, and it stays
//! in slurmstepd's own cgroup. All that leads to it is a socket, whose other end is the keeper's standard input.

use std::ffi::{CString, c_char, c_int};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{
    AddressFamily, Backlog, Shutdown, SockFlag, SockType, UnixAddr, accept4, bind, connect, getsockname, getsockopt,
    listen, shutdown, socket, sockopt,
};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, getegid, geteuid};

/// How long a container may take to end, in milliseconds: FUSE daemons write what they still have in memory. Less than Slurm's
/// `UnkillableStepTimeout` (60 s by default), whose clock runs meanwhile where a step was terminated, and which drains the node.
const PATIENCE: u16 = 45_000;
/// Descriptors that are closed one by one where the kernel cannot close a range of them (before Linux 5.9).
const MOST_DESCRIPTORS: c_int = 65_536;

/// slurmstepd's end of the socket, which its tasks share.
#[derive(Debug)]
pub(crate) struct Channel {
    tasks: OwnedFd,
    has_keeper: bool,
}

impl Channel {
    /// Made before anything else, because slurmstepd may run `user_init` in a process with descriptors of its own
    /// (`SlurmdParameters=contain_spank`): what is opened there is gone with that process. What is connected there stays connected.
    pub(crate) fn new() -> Result<Self, String> {
        let tasks = new_socket().map_err(failed("a socket"))?;
        Ok(Self { tasks, has_keeper: false })
    }

    /// Starts the keeper, as the user whose effective ids this process has.
    ///
    /// # Safety
    /// `environment` is a list of strings for execve(2), which does not change during this call.
    pub(crate) unsafe fn start_keeper(
        &mut self,
        words: &[String],
        environment: *const *const c_char,
    ) -> Result<(), String> {
        let words: Vec<CString> = words
            .iter()
            .map(|word| CString::new(word.as_str()))
            .collect::<Result<_, _>>()
            .map_err(|e| e.to_string())?;
        let mut argv: Vec<*const c_char> = words.iter().map(|word| word.as_ptr()).collect();
        argv.push(std::ptr::null());
        let nothing =
            File::options().read(true).write(true).open("/dev/null").map_err(|e| format!("/dev/null: {e}"))?;
        let end = self.connected().map_err(failed("the socket to the step's container"))?;
        let start = Start {
            streams: [end.as_raw_fd(), nothing.as_raw_fd(), nothing.as_raw_fd()],
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            argv: argv.as_ptr(),
            environment,
        };
        // SAFETY: the child of a process with threads may only make system calls until it execs, and `fork_again` makes no others.
        match unsafe { libc::fork() } {
            // SAFETY: the child, see above.
            0 => unsafe { start.fork_again() },
            -1 => Err(failed("a process for the step's container")(Errno::last())),
            child => match waitpid(Pid::from_raw(child), None) {
                Ok(WaitStatus::Exited(_, 0)) => {
                    self.has_keeper = true;
                    Ok(())
                }
                _ => Err("the process for the step's container was not started".into()),
            },
        }
    }

    /// The descriptor for the command of a task, in whose process this is called; `None` where there is no keeper.
    pub(crate) fn for_command(&self) -> Option<RawFd> {
        fcntl(&self.tasks, FcntlArg::F_SETFD(FdFlag::empty())).ok().filter(|_| self.has_keeper)?;
        Some(self.tasks.as_raw_fd())
    }

    /// Tells the keeper that the step is over, and waits until it has ended.
    pub(crate) fn end(&mut self) -> Result<(), String> {
        if !std::mem::take(&mut self.has_keeper) {
            return Ok(());
        }
        let _ = shutdown(self.tasks.as_raw_fd(), Shutdown::Write);
        let ended = poll(&mut [PollFd::new(self.tasks.as_fd(), PollFlags::POLLIN)], PATIENCE);
        match ended {
            Ok(1..) => Ok(()),
            _ => Err(format!(
                "the step's container has not ended within {} s: its image may still be in use",
                PATIENCE / 1000
            )),
        }
    }

    /// The keeper's end. Through a listening socket of an instant, because a pair would have both ends in this process.
    fn connected(&self) -> nix::Result<OwnedFd> {
        let listening = new_socket()?;
        bind(listening.as_raw_fd(), &UnixAddr::new_unnamed())?;
        listen(&listening, Backlog::new(8)?)?;
        let name: UnixAddr = getsockname(listening.as_raw_fd())?;
        connect(self.tasks.as_raw_fd(), &name)?;
        loop {
            let accepted = accept4(listening.as_raw_fd(), SockFlag::SOCK_CLOEXEC)?;
            // SAFETY: a new descriptor, which nobody else has.
            let end = unsafe { OwnedFd::from_raw_fd(accepted) };
            // Anybody could have connected in between.
            if getsockopt(&end, sockopt::PeerCredentials)?.pid() == Pid::this().as_raw() {
                return Ok(end);
            }
        }
    }
}

fn new_socket() -> nix::Result<OwnedFd> {
    socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)
}

fn failed(what: &str) -> impl FnOnce(Errno) -> String {
    move |errno| format!("{what}: {}: tasks start containers of their own", errno.desc())
}

/// All that is needed between fork and exec.
struct Start {
    streams: [RawFd; 3],
    uid: libc::uid_t,
    gid: libc::gid_t,
    argv: *const *const c_char,
    environment: *const *const c_char,
}

impl Start {
    /// # Safety
    /// In a new process that execs or ends next. Only system calls are made here: locks of other threads may be held for ever.
    unsafe fn fork_again(&self) -> ! {
        // SAFETY: plain system calls; the lists are those of `Channel::start_keeper`, whose memory this process has a copy of.
        unsafe {
            libc::setsid();
            match libc::fork() {
                -1 => libc::_exit(1),
                0 => {}
                _ => libc::_exit(0),
            }
            (0..).zip(self.streams).for_each(|(number, stream)| {
                libc::dup2(stream, number);
            });
            close_the_rest();
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
            // The real and the saved id are still root's.
            if libc::setresgid(self.gid, self.gid, self.gid) == 0 && libc::setresuid(self.uid, self.uid, self.uid) == 0
            {
                libc::execve(*self.argv, self.argv, self.environment);
            }
            libc::_exit(127)
        }
    }
}

/// # Safety
/// As [`Start::fork_again`].
unsafe fn close_the_rest() {
    // SAFETY: plain system calls on this process's own descriptors.
    unsafe {
        if libc::syscall(libc::SYS_close_range, 3, c_int::MAX, 0) != 0 {
            (3..MOST_DESCRIPTORS).for_each(|number| {
                libc::close(number);
            });
        }
    }
}
