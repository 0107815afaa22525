//! Signals that reach this process while it waits for the command.
//!
//! The command is in the same process group, so whatever a terminal sends (Ctrl-C, Ctrl-\) has reached it already. What another
//! process sends to this one alone is passed on. Inside a Slurm step every process of the step gets the signal from Slurm
//! itself; passing it on would make the command see it once more.
//!
//! Signals are received by handlers and not by blocking them: a blocked signal could stay blocked in the engine and the command.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::origin::WithOrigin;
use signal_hook::low_level::siginfo::Cause;

use crate::run::error::{RunError, system};
use condatainer_images::system::stop;

/// What a process may be sent for the command's sake, but for SIGHUP.
pub(crate) const MEANT_FOR_COMMANDS: [Signal; 7] = [
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGTERM,
    Signal::SIGXCPU,
];

/// Which signals are passed on to the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// Those that another process sent to this one: at a prompt, and in a batch script (`scancel --batch` reaches only it).
    FromProcesses,
    /// None: Slurm signals every process of a step.
    Nothing,
}

/// The signals of this process, read one by one instead of ending it.
#[derive(Debug)]
pub(crate) struct Signals {
    delivery: SignalDelivery<UnixStream, WithOrigin>,
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
    Known(Signal),
}

impl Signals {
    /// Receives from now on whatever could be meant for the command, and the end of the engine. What the caller has us ignore
    /// (`nohup`) is not meant for the command, and the engine inherits it.
    pub(crate) fn listen(forward: Forward) -> Result<Self, RunError> {
        let (read, write) = UnixStream::pair().map_err(system("cannot listen for signals"))?;
        let commands = MEANT_FOR_COMMANDS.iter().chain(&[Signal::SIGHUP]).map(|signal| *signal as i32);
        let wanted = stop::not_ignored(commands).chain([Signal::SIGCHLD as i32]);
        let delivery = SignalDelivery::with_pipe(read, write, WithOrigin::default(), wanted);
        Ok(Self { delivery: delivery.map_err(system("cannot listen for signals"))?, forward })
    }

    /// What has come in since the last call, without waiting.
    pub(crate) fn take(&mut self) -> Vec<Incoming> {
        let forward = self.forward;
        self.delivery.pending().filter_map(|origin| classify(origin.signal, origin.cause, forward)).collect()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.delivery.get_read().as_fd()
    }
}

fn classify(signal: i32, cause: Cause, forward: Forward) -> Option<Incoming> {
    let signal = Signal::try_from(signal).ok()?;
    Some(match (signal, forward, cause) {
        (Signal::SIGCHLD, _, _) => Incoming::Child,
        // A terminal's signals come from the kernel, and go to the whole process group.
        (_, _, Cause::Kernel) | (_, Forward::Nothing, _) => Incoming::Known(signal),
        (_, Forward::FromProcesses, _) => Incoming::PassOn(signal),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use signal_hook::low_level::siginfo::Sent;

    #[test]
    fn each_origin() {
        let term = |cause, forward| classify(Signal::SIGTERM as i32, cause, forward);
        let sent = Cause::Sent(Sent::User);
        assert_eq!(term(sent, Forward::FromProcesses), Some(Incoming::PassOn(Signal::SIGTERM)));
        assert_eq!(term(sent, Forward::Nothing), Some(Incoming::Known(Signal::SIGTERM)));
        assert_eq!(term(Cause::Kernel, Forward::FromProcesses), Some(Incoming::Known(Signal::SIGTERM)));
        assert_eq!(classify(Signal::SIGCHLD as i32, sent, Forward::Nothing), Some(Incoming::Child));
    }
}
