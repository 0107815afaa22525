//! The keeper's side of the relays: answers those who call from the container of its step.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::{Pid, getuid};

use crate::plan::Plan;
use crate::run::inside;
use condatainer_images::system::process::Process;
use condatainer_programs::relay::VARIABLE;

/// The verb of the processes that run the commands.
const VERB: &str = "outside";
/// How many calls are answered before the step is looked at again.
const AT_ONCE: usize = 16;

/// The keeper's side: listens, and starts a process for every call.
#[derive(Debug)]
pub struct Relays {
    listening: UnixListener,
    running: Vec<Child>,
}

impl Relays {
    /// Adds to the plan what the relays need; `None` where the site has no links for them.
    ///
    /// # Errors
    /// The system has no socket left.
    pub fn offer(plan: &mut Plan) -> io::Result<Option<Self>> {
        let Some(source) = inside::programs("slurm") else { return Ok(None) };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let address = format!("condatainer-{}-{now}", Pid::this());
        let listening = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&address)?)?;
        listening.set_nonblocking(true)?;
        inside::show(plan, source);
        tell(plan, &address);
        Ok(Some(Self { listening, running: Vec::new() }))
    }

    /// Serves all who have called from the container of this process.
    pub(crate) fn serve(&mut self, first: Pid) {
        self.running.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        // Everybody on the node can call: who calls all the time must not keep the keeper from the step's end.
        for (call, _) in std::iter::from_fn(|| self.listening.accept().ok()).take(AT_ONCE) {
            if is_inside(&call, first)
                && let Ok(child) = start(first, call)
            {
                self.running.push(child);
            }
        }
    }

    /// Waits for the commands, which end with those who have called them.
    pub(crate) fn end(self) {
        drop(self.listening);
        for mut child in self.running {
            let _ = child.wait();
        }
    }
}

impl AsFd for Relays {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listening.as_fd()
    }
}

/// To what is done if we cannot mount the layers, too.
fn tell(plan: &mut Plan, address: &str) {
    plan.env.push((VARIABLE.into(), address.into()));
    plan.otherwise.iter_mut().for_each(|otherwise| tell(otherwise, address));
}

/// Whether a process of the user's own calls, and from the container: it is ended with the container, and its command with it.
fn is_inside(call: &UnixStream, first: Pid) -> bool {
    let Ok(peer) = getsockopt(call, sockopt::PeerCredentials) else { return false };
    let (caller, first) = (Process::numbered(peer.pid()), Process::numbered(first));
    peer.uid() == getuid().as_raw() && caller.namespace_name("mnt").is_some() && caller.shares(&first, "mnt")
}

fn start(first: Pid, call: UnixStream) -> io::Result<Child> {
    let words = [VERB, &first.to_string()];
    Command::new("/proc/self/exe").args(words).stdin(Stdio::from(std::os::fd::OwnedFd::from(call))).spawn()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mounts;
    use crate::plan::tests::{machine, on};
    use crate::request::Request;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    #[test]
    fn whoever_mounts_tells_where_to_call() {
        let mut facts = machine();
        facts.mounts.asked = Mounts::Auto;
        let request = Request { tmp: true, ..Request::default() };
        let mut plan = on(facts, &request, Vec::new()).unwrap();
        tell(&mut plan, "name");
        for plan in [&plan, plan.otherwise.as_deref().unwrap()] {
            assert!(plan.env.iter().any(|(name, value)| name == VARIABLE && value == "name"), "{plan:?}");
        }
    }

    #[test]
    fn strangers_who_call_all_the_time_do_not_keep_it() {
        let name = format!("condatainer-test-{}", Pid::this());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listening = UnixListener::bind_addr(&address).unwrap();
        listening.set_nonblocking(true).unwrap();
        let calls: Vec<_> = (0..AT_ONCE * 2).map(|_| UnixStream::connect_addr(&address).unwrap()).collect();
        let mut relays = Relays { listening, running: Vec::new() };
        let waits = |relays: &Relays| {
            poll(&mut [PollFd::new(relays.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).unwrap() > 0
        };
        // Nobody is in the container of a process that is not there.
        let nowhere = Pid::from_raw(i32::MAX);
        relays.serve(nowhere);
        assert!(waits(&relays), "it has gone on for as long as somebody called");
        relays.serve(nowhere);
        assert!(!waits(&relays) && relays.running.is_empty());
        drop(calls);
    }
}
