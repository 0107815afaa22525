//! A process tree in namespaces of its own. Its first process lives on a pipe that we hold: when we are gone, however we
//! went, the pipe ends, the first process exits, and the kernel ends all others of its pid namespace.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::machine::{entry, interrupt, process};

/// A namespace that takes longer hangs. A busy machine may need half a minute.
const PATIENCE: Duration = Duration::from_secs(180);

/// A running namespace; everything in it is killed, and waited for, when this is dropped.
#[derive(Debug)]
pub(crate) struct Namespace {
    child: Child,
    init: i32,
    lifeline: Option<ChildStdin>,
}

impl Namespace {
    /// Runs a command that makes namespaces and says `ready` when its first process is set up. What it says on standard
    /// error goes to the console.
    pub(crate) fn start(mut command: Command, console: File) -> Result<Self> {
        // A group of its own: an interrupt typed at the tool must not tear single daemons out of the cluster.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(console).process_group(0);
        let mut child = entry::start(&mut command)?;
        let lifeline = child.stdin.take();
        let stdout = child.stdout.take();
        let pid = i32::try_from(child.id())?;
        let mut namespace = Self { child, init: pid, lifeline };
        wait_until_ready(stdout)?;
        namespace.init = process::last_in_chain(pid);
        interrupt::register(namespace.init);
        Ok(namespace)
    }

    /// The first process, as the host numbers it.
    pub(crate) fn init(&self) -> i32 {
        self.init
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        interrupt::forget(self.init);
        drop(self.lifeline.take());
        if matches!(self.child.try_wait(), Ok(None)) {
            let _gone_already = kill(Pid::from_raw(self.init), Signal::SIGKILL);
        }
        // The parent of the first process sees it end only after the kernel has ended all the others.
        let _no_child_any_more = self.child.wait();
    }
}

fn wait_until_ready(stdout: Option<ChildStdout>) -> Result<()> {
    let stdout = stdout.context("the namespace has no output")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        let _ended = BufReader::new(stdout).read_line(&mut line);
        let _nobody_waits = sender.send(line);
    });
    match receiver.recv_timeout(PATIENCE).as_deref() {
        Ok("ready\n") => Ok(()),
        Ok(_) => bail!("the namespace could not be set up"),
        Err(_) => bail!("the namespace was not set up within {} s", PATIENCE.as_secs()),
    }
}
