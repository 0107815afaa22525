//! Processes that a command has left behind in a container whose image the kernel has mounted (SingularityCE), and those that the
//! tasks of a step have left behind in their container.
//!
//! The former keep the container's mount namespace, and with it the image, mounted for writing after the engine has ended and let go of
//! its lock: somebody on another node could then write to it as well. Under Apptainer such a process loses its file system, for the
//! FUSE programs end with the engine; here it is ended itself.
//!
//! The namespace is known by its number alone. Its file is not kept open: that would keep the image mounted after the engine has let
//! go of its lock, also where nothing was left behind. So the number may be that of another container by now, which still has its
//! engine. Where the container has a user namespace of its own, that is known too, and its file is kept open: it keeps no mount, and no other
//! one gets its number.

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::plan::Plan;
use crate::run::engine::shim_socket::Report;
use condatainer_images::system::process::Process;

/// What a process gets to save its work after SIGTERM, before SIGKILL.
const GRACE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(5);
const INTERVAL: Duration = Duration::from_millis(5);

/// What the engine's programs are called that stay while a container runs: `starter`, `starter-suid`.
const ENGINE: &str = "starter";

/// The mount namespace of a container that writes to an image.
pub(crate) struct Leftovers {
    namespace: PathBuf,
    users: PathBuf,
    /// Its number is nobody else's as long as it is open.
    kept_open: Option<File>,
}

impl Leftovers {
    /// Taken while the shim waits; `None` where nothing is written, or FUSE programs mount the image.
    pub(crate) fn of(plan: &Plan, report: Report) -> Option<Self> {
        let Report::Started(pid) = report else { return None };
        Self::with(pid).filter(|_| plan.engine.is_singularity() && plan.holds.is_some())
    }

    /// Those in the container of this process that its engine has not started; `None` if it has no namespace of its own.
    pub(crate) fn with(pid: Pid) -> Option<Self> {
        let process = Process::numbered(pid);
        let (namespace, users) = (process.namespace_name("mnt")?, process.namespace_name("user")?);
        let kept_open = File::open(format!("/proc/{pid}/ns/user")).ok();
        (Process::this().namespace_name("mnt")? != namespace).then_some(Self { namespace, users, kept_open })
    }

    /// Whether no other container can be taken for this one: it has users of its own.
    pub(crate) fn are_ours(&self) -> bool {
        self.kept_open.is_some() && Process::this().namespace_name("user").is_some_and(|users| users != self.users)
    }

    /// Ends them, and waits until they are gone.
    pub(crate) fn end(&self) {
        end(|| self.processes(), &[Signal::SIGTERM]);
    }

    /// All in the namespace, the engine's own among them, and those whose first thread has ended.
    pub(crate) fn all_inside(&self) -> Vec<Process> {
        let is_inside = |one: &Process| self.has(one);
        let has_one_inside = |one: &Process| one.is_zombie() && one.threads().any(|thread| is_inside(&thread));
        Process::all().filter(|process| is_inside(process) || has_one_inside(process)).collect()
    }

    fn has(&self, process: &Process) -> bool {
        let is_in = |kind, name| process.namespace_name(kind).as_ref() == Some(name);
        is_in("mnt", &self.namespace) && is_in("user", &self.users)
    }

    /// Those that still run; a zombie has no namespaces.
    fn processes(&self) -> Vec<Pid> {
        let inside = Process::all().filter(|process| self.has(process));
        inside.filter(|process| !has_engine(process)).filter_map(|process| process.pid()).collect()
    }
}

/// Ends processes by these signals, and waits until none is found any more; those that are left after a moment are killed.
pub(crate) fn end(mut find: impl FnMut() -> Vec<Pid>, signals: &[Signal]) {
    let send = |all: &[Pid], signal: Signal| {
        for pid in all {
            let _ = kill(*pid, signal);
        }
    };
    let start = Instant::now();
    let all = find();
    signals.iter().for_each(|signal| send(&all, *signal));
    while start.elapsed() < PATIENCE {
        let left = find();
        if left.is_empty() {
            return;
        }
        if start.elapsed() > GRACE {
            send(&left, Signal::SIGKILL);
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Whether an engine stands above this process: it is ours no more, or it is the shim that a step's container is kept with.
pub(crate) fn has_engine(process: &Process) -> bool {
    process.ancestors().any(|ancestor| ancestor.name().starts_with(ENGINE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    /// A shell of this name that waits for a child, and the child.
    fn family(dir: &std::path::Path, name: &str) -> (std::process::Child, Pid) {
        let shell = dir.join(name);
        std::os::unix::fs::symlink("/bin/sh", &shell).unwrap();
        let mut command = Command::new(shell);
        let mut parent = command.args(["-c", "sleep 60 & echo $!; wait"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (parent, Pid::from_raw(line.trim().parse().unwrap()))
    }

    #[test]
    fn a_container_that_has_its_engine_is_spared() {
        let dir = tempfile::tempdir().unwrap();
        let name = |kind| Process::this().namespace_name(kind).unwrap();
        let leftovers = Leftovers { namespace: name("mnt"), users: name("user"), kept_open: None };
        let families = [family(dir.path(), "starter-suid"), family(dir.path(), "starter"), family(dir.path(), "bash")];
        let found = leftovers.processes();
        let left = families.map(|(mut parent, child)| {
            let _ = kill(child, Signal::SIGKILL);
            parent.wait().unwrap();
            found.contains(&child)
        });
        // These tests may run in a container themselves.
        let contained = has_engine(&Process::this());
        assert_eq!(left, [false, false, !contained]);
    }
}
