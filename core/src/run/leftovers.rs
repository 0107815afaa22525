//! Processes that a command has left behind in a container whose image the kernel has mounted (SingularityCE).
//!
//! They keep the container's mount namespace, and with it the image, mounted for writing after the engine has ended and let go of
//! its lock: somebody on another node could then write to it as well. Under Apptainer such a process loses its file system, for the
//! FUSE programs end with the engine; here it is ended itself.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::plan::Plan;
use crate::run::link::Report;
use crate::singularity;

/// What a process gets to save its work after SIGTERM, before SIGKILL.
const GRACE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(5);
const INTERVAL: Duration = Duration::from_millis(5);

/// The mount namespace of a container that writes to an image.
pub(crate) struct Leftovers {
    namespace: PathBuf,
    /// A process that is to stay.
    spared: Option<Pid>,
}

impl Leftovers {
    /// Taken while the shim waits; `None` where nothing is written, or FUSE programs mount the image.
    pub(crate) fn of(plan: &Plan, report: Report) -> Option<Self> {
        let Report::Started(pid) = report else { return None };
        let found = Self::beside(pid).filter(|_| singularity::is(&plan.engine) && plan.holds.is_some())?;
        Some(Self { spared: None, ..found })
    }

    /// Whatever is in the container of this process besides it; `None` if it has no namespace of its own.
    pub(crate) fn beside(pid: Pid) -> Option<Self> {
        let namespace = fs::read_link(format!("/proc/{pid}/ns/mnt")).ok()?;
        let own = fs::read_link("/proc/self/ns/mnt").ok()?;
        (namespace != own).then_some(Self { namespace, spared: Some(pid) })
    }

    /// Ends them, and waits until they are gone.
    pub(crate) fn end(&self) {
        let start = Instant::now();
        self.send(Signal::SIGTERM);
        while start.elapsed() < PATIENCE && !self.processes().is_empty() {
            std::thread::sleep(INTERVAL);
            if start.elapsed() > GRACE {
                self.send(Signal::SIGKILL);
            }
        }
    }

    fn send(&self, signal: Signal) {
        for pid in self.processes() {
            let _ = kill(pid, signal);
        }
    }

    /// Those that still run; a zombie has no namespaces.
    fn processes(&self) -> Vec<Pid> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| number(entry.file_name()));
        pids.filter(|pid| fs::read_link(format!("/proc/{pid}/ns/mnt")).is_ok_and(|link| link == self.namespace))
            .map(Pid::from_raw)
            .filter(|pid| Some(*pid) != self.spared)
            .collect()
    }
}

fn number(name: OsString) -> Option<i32> {
    name.to_str()?.parse().ok()
}
