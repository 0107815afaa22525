//! Signals that reach this process while it waits for the command.
//!
//! The command is in the same process group, so whatever a terminal sends (Ctrl-C, Ctrl-\) has reached it already. What another
//! process sends to this one alone is passed on. Inside a Slurm step every process of the step gets the signal from Slurm
//! itself; passing it on would make the command see it once more.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::run::{RunError, system};

/// Which signals are passed on to the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// Those that another process sent to this one: at a prompt, and in a batch script (`scancel --batch` reaches only it).
    FromProcesses,
    /// None: Slurm signals every process of a step.
    Nothing,
}

const PASSED_ON: [Signal; 8] = [
    Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGTERM, Signal::SIGALRM,
    Signal::SIGXCPU,
];

/// `si_code` of a signal that the kernel sent (linux/include/uapi/asm-generic/siginfo.h): a terminal's, to the whole group.
const SI_KERNEL: i32 = 0x80;

/// The signals of this process, read one by one instead of interrupting it.
#[derive(Debug)]
pub(crate) struct Signals {
    fd: SignalFd,
    forward: Forward,
}

/// One signal that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// A child changed its state.
    Child,
    /// To be passed on.
    PassOn(Signal),
    /// The command has it already.
    Known,
}

impl Signals {
    /// Blocks the signals of interest from now on.
    pub(crate) fn listen(forward: Forward) -> Result<Self, RunError> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGCHLD);
        PASSED_ON.iter().for_each(|signal| set.add(*signal));
        let broken = |e: nix::errno::Errno| system("cannot listen for signals")(e.into());
        set.thread_block().map_err(broken)?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(broken)?;
        Ok(Self { fd, forward })
    }

    /// The next signal, without waiting.
    pub(crate) fn next(&self) -> Option<Incoming> {
        let info = self.fd.read_signal().ok().flatten()?;
        let signal = i32::try_from(info.ssi_signo).ok().and_then(|n| Signal::try_from(n).ok())?;
        Some(classify(signal, info.ssi_code, self.forward))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn classify(signal: Signal, code: i32, forward: Forward) -> Incoming {
    match (signal, forward) {
        (Signal::SIGCHLD, _) => Incoming::Child,
        (_, Forward::FromProcesses) if code != SI_KERNEL => Incoming::PassOn(signal),
        _ => Incoming::Known,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_origin() {
        let term = |code, forward| classify(Signal::SIGTERM, code, forward);
        assert_eq!(term(0, Forward::FromProcesses), Incoming::PassOn(Signal::SIGTERM));
        assert_eq!(term(0, Forward::Nothing), Incoming::Known);
        assert_eq!(classify(Signal::SIGINT, SI_KERNEL, Forward::FromProcesses), Incoming::Known);
        assert_eq!(classify(Signal::SIGCHLD, 1, Forward::Nothing), Incoming::Child);
    }
}
