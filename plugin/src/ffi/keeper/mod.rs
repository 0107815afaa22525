//! The keeper of a step's container, as slurmstepd sees it: how it is started, how it is told that the step is over, and how
//! its end is enforced.
//!
//! It is the user's process, but none of those that Slurm signals, counts and kills: it is no descendant of slurmstepd, and where Slurm
//! tracks by cgroups it has one of its own. Above it stands the warden, which is root's: what the keeper has started ends with
//! the step, also if it does not want to.

mod launch;

use std::ffi::{CString, c_char};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use condatainer_core::step::warden::{Verdict, WARDEN};
use condatainer_images::tools::memfd;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, recv, shutdown, socketpair};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, getegid, geteuid, pipe2};

use launch::{Launch, fork_bare, open_descriptors};

/// How much longer than its patience the warden may take until it has killed what did not end, in seconds.
const KILLING: u16 = 8;

/// The ways from slurmstepd, and its tasks, to the keeper and to the warden.
#[derive(Debug)]
pub(crate) struct Channel {
    /// This end of the keeper's socket is the tasks' as well.
    tasks: OwnedFd,
    /// Only slurmstepd has this end of the warden's.
    warden: OwnedFd,
    /// The other ends of both, until they are handed over.
    far: Option<[OwnedFd; 2]>,
    /// How long a container may take to end, in seconds; once there is a keeper.
    patience: Option<u16>,
}

impl Channel {
    /// Made before anything else, because slurmstepd may run `user_init` in a process with descriptors of its own
    /// (`SlurmdParameters=contain_spank`): what is opened there is gone with that process. What is closed there stays open here, so
    /// nothing may depend on an end of file that comes by itself.
    pub(crate) fn new() -> Result<Self, String> {
        let (tasks, keeper) = new_pair()?;
        let (warden, orders) = new_pair()?;
        Ok(Self { tasks, warden, far: Some([keeper, orders]), patience: None })
    }

    /// Starts the keeper, as the user whose effective ids this process has, and its warden, as root. The container may take
    /// `patience` seconds to end.
    ///
    /// # Safety
    /// `environment` is a list of strings for execve(2), which does not change during this call.
    pub(crate) unsafe fn start_keeper(
        &mut self,
        words: &[String],
        environment: *const *const c_char,
        patience: u16,
    ) -> Result<(), String> {
        let Some([keeper, orders]) = self.far.take() else { return Ok(()) };
        let words: Vec<CString> = words
            .iter()
            .map(|word| CString::new(word.as_str()))
            .collect::<Result<_, _>>()
            .map_err(|e| e.to_string())?;
        let program: Vec<*const c_char> = words.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect();
        let seconds = CString::new(patience.to_string()).map_err(|e| e.to_string())?;
        let nothing =
            File::options().read(true).write(true).open("/dev/null").map_err(|e| format!("/dev/null: {e}"))?;
        let file = warden_file().map_err(failed("the warden of the step's container"))?;
        let gate = pipe2(OFlag::O_CLOEXEC).map_err(failed("a pipe"))?;
        let moved = |descriptor: &OwnedFd| out_of_the_way(descriptor).map_err(failed("a descriptor"));
        let [keeper, orders] = [moved(&keeper)?, moved(&orders)?];
        let [nothing, file, waiting, opening] =
            [moved(&nothing.into())?, moved(&file)?, moved(&gate.0)?, moved(&gate.1)?];
        let launch = Launch {
            keeper: keeper.as_raw_fd(),
            orders: orders.as_raw_fd(),
            nothing: nothing.as_raw_fd(),
            gate: [waiting.as_raw_fd(), opening.as_raw_fd()],
            warden_file: file.as_raw_fd(),
            descriptors: open_descriptors(),
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            program: program.as_ptr(),
            environment,
            warden: [c"condatainer".as_ptr(), c"warden".as_ptr(), seconds.as_ptr()],
        };
        // SAFETY: the child makes nothing but system calls, and ends in `run`.
        match unsafe { fork_bare() } {
            // SAFETY: the child, see above; the lists live in this process's memory, of which it has a copy.
            Ok(0) => unsafe { launch.run() },
            Ok(child) => match waitpid(Pid::from_raw(child), None) {
                Ok(WaitStatus::Exited(_, 0)) => {
                    self.patience = Some(patience);
                    Ok(())
                }
                _ => Err("the process for the step's container was not started".into()),
            },
            Err(errno) => Err(failed("a process for the step's container")(errno)),
        }
    }

    /// The descriptor for the command of a task, in whose process this is called; `None` where there is no keeper.
    pub(crate) fn for_command(&self) -> Option<RawFd> {
        fcntl(&self.tasks, FcntlArg::F_SETFD(FdFlag::empty())).ok().filter(|_| self.patience.is_some())?;
        Some(self.tasks.as_raw_fd())
    }

    /// Tells the keeper that the step is over, and waits until it has ended, and all that it has started.
    pub(crate) fn end(&mut self) -> Result<(), String> {
        let Some(patience) = self.patience.take() else { return Ok(()) };
        let _ = shutdown(self.tasks.as_raw_fd(), Shutdown::Write);
        let _ = shutdown(self.warden.as_raw_fd(), Shutdown::Write);
        match self.verdict(patience.saturating_add(KILLING)) {
            Some(Verdict::Ended) => Ok(()),
            Some(Verdict::Lost) => Err(
                "what was written last in the step's container may be lost: a FUSE program was killed, or there was no room: run 'condatainer overlay check' on its image".into(),
            ),
            Some(Verdict::Unserved) => Err(
                "the layers of the step's container could not be served to the end: the process that did was killed or blocked, an image is damaged, or a file server failed: run 'condatainer overlay check' on its images".into(),
            ),
            Some(Verdict::Late) => Err(format!(
                "the step's container did not end within {patience} s and was killed: what was written last may be missing in its image, which its next use repairs"
            )),
            Some(Verdict::Strays) => Err("processes that the step's container had left behind were killed".into()),
            Some(Verdict::Stuck) => Err(format!(
                "the step's container did not end within {patience} s, and has a process that SIGKILL does not end: look at the disk or the server that its images are on"
            )),
            None => Err("the warden of the step's container does not answer: its image may still be in use".into()),
        }
    }

    fn verdict(&self, seconds: u16) -> Option<Verdict> {
        let deadline = Instant::now() + Duration::from_secs(seconds.into());
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let time = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.warden.as_fd(), PollFlags::POLLIN)], time) {
                Err(Errno::EINTR) => {}
                Ok(1..) => break,
                _ => return None,
            }
        }
        let mut byte = [0];
        recv(self.warden.as_raw_fd(), &mut byte, MsgFlags::MSG_DONTWAIT).ok()?;
        Verdict::read(byte[0])
    }
}

fn new_pair() -> Result<(OwnedFd, OwnedFd), String> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).map_err(failed("a socket"))
}

/// The warden's program, in memory: no file is there that somebody could put another one in the place of.
fn warden_file() -> nix::Result<OwnedFd> {
    memfd::program(c"condatainer-warden", WARDEN, memfd::Flags::CLOEXEC)
        .map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
}

/// A copy with a number that is not put to another use between fork and exec.
fn out_of_the_way(descriptor: &OwnedFd) -> nix::Result<OwnedFd> {
    const FIRST: RawFd = 10;
    let copy = fcntl(descriptor, FcntlArg::F_DUPFD_CLOEXEC(FIRST))?;
    // SAFETY: a new descriptor, which nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

fn failed(what: &str) -> impl FnOnce(Errno) -> String {
    move |errno| format!("{what}: {}: tasks start containers of their own", errno.desc())
}

#[cfg(test)]
#[path = "keeper_tests.rs"]
mod tests;
