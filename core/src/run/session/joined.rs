//! Who has joined a session, and his end with it: he works on file systems that the engine takes away when its command has ended.
//!
//! Once the memory file is sealed nobody can add himself any more, so there is no moment in which somebody joins unseen.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::record::Record;
use crate::plan::Plan;
use crate::run::engine::leftovers;
use condatainer_images::system::process::Process;

/// An interactive shell ignores SIGTERM, and one that is stopped obeys neither before it goes on.
const SIGNALS: [Signal; 3] = [Signal::SIGHUP, Signal::SIGTERM, Signal::SIGCONT];

/// Begins the line of a process that has joined.
const MARK: &str = "joined ";

/// What somebody who has joined is told.
const FAREWELL: &str = "the session that was joined here has ended, and this ends with it";

/// A session, as the process that keeps it has it.
#[derive(Debug)]
pub(crate) struct OpenSession {
    file: File,
    /// The container's mount namespace, by the kernel's name for it.
    namespace: PathBuf,
}

impl OpenSession {
    /// Of a container whose first process waits; `None` where nobody can join it.
    pub(crate) fn new(plan: &Plan, first: Pid) -> Option<Self> {
        let record = Record::of(plan, first).ok().filter(|_| plan.shares_namespaces())?;
        Some(Self { file: record.written().ok()?, namespace: record.namespace })
    }

    /// Lets nobody join any more, and ends those who have, with what they have started. How many processes these were.
    pub(crate) fn end(&self) -> usize {
        let _ = fcntl(&self.file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_GROW));
        let joined = self.joined();
        if joined.is_empty() {
            return 0;
        }
        let mut all = self.theirs(&joined);
        let number = all.len();
        joined.iter().filter(|pid| all.contains(pid)).for_each(|pid| tell(*pid, FAREWELL));
        // One whose parent has ended is known only from before.
        let left = || {
            all = self.theirs(&all);
            all.clone()
        };
        leftovers::end(left, &SIGNALS);
        number
    }

    /// Those of these processes that are still in the container, and their descendants.
    fn theirs(&self, of: &[Pid]) -> Vec<Pid> {
        Process::all().filter(|process| self.is_of(process, of)).filter_map(|process| process.pid()).collect()
    }

    /// The numbers that stand behind the record.
    fn joined(&self) -> Vec<Pid> {
        let mut text = Vec::new();
        let own = Process::this().directory().join(format!("fd/{}", self.file.as_raw_fd()));
        let _ = File::open(own).and_then(|mut file| file.read_to_end(&mut text));
        let lines = text.rsplit(|byte| *byte == b'\n').map_while(|line| match line {
            [] => Some(None),
            line => std::str::from_utf8(line).ok()?.strip_prefix(MARK)?.parse().ok().map(Some),
        });
        lines.flatten().map(Pid::from_raw).collect()
    }

    fn is_of(&self, process: &Process, of: &[Pid]) -> bool {
        let is_inside = process.namespace_name("mnt").as_ref() == Some(&self.namespace);
        let mut line = std::iter::once(process.clone()).chain(process.ancestors());
        is_inside && line.any(|one| one.pid().is_some_and(|pid| of.contains(&pid)))
    }
}

/// Where a process that joins adds itself. From inside it would not be found any more.
#[derive(Debug)]
pub(crate) struct JoinedProcesses(File);

impl JoinedProcesses {
    pub(crate) fn open(file: &Path) -> io::Result<Self> {
        OpenOptions::new().append(true).open(file).map(Self)
    }

    /// Adds this process, once it is in the container: whoever looks then, finds it there.
    pub(crate) fn add(&self) -> io::Result<()> {
        (&self.0).write_all(format!("\n{MARK}{}\n", Pid::this()).as_bytes())
    }
}

/// Writes a line where a process writes its errors. One that nobody reads is not waited for.
fn tell(pid: Pid, line: &str) {
    let flags = OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
    let errors = Process::numbered(pid).directory().join("fd/2");
    if let Ok(mut errors) = OpenOptions::new().append(true).custom_flags(flags.bits()).open(errors) {
        let end = if errors.is_terminal() { "\r\n" } else { "\n" };
        let _ = errors.write_all(format!("{end}condatainer: {line}{end}").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command};
    use std::time::{Duration, Instant};

    fn open() -> (OpenSession, PathBuf) {
        let namespace = Process::this().namespace_name("mnt").unwrap();
        let open = OpenSession { file: Record::sample().written().unwrap(), namespace };
        let path = PathBuf::from(format!("/proc/self/fd/{}", open.file.as_raw_fd()));
        (open, path)
    }

    fn joins(file: &Path, process: &Child) {
        let mut file = OpenOptions::new().append(true).open(file).unwrap();
        file.write_all(format!("\n{MARK}{}\n", process.id()).as_bytes()).unwrap();
    }

    /// A shell that ignores what an interactive one ignores, with a child that ignores even more, as `nohup` makes it.
    fn shell() -> Child {
        let text = "trap '' TERM INT QUIT; (trap '' HUP; exec sleep 60) & wait";
        // Whoever runs the tests may have had them ignore SIGHUP.
        Command::new("env").args(["--default-signal=HUP", "sh", "-c", text]).spawn().unwrap()
    }

    fn child_of(parent: &Child) -> Option<Process> {
        let parent = Process::numbered(parent.id());
        Process::all().find(|process| process.parent().as_ref() == Some(&parent))
    }

    #[test]
    fn who_has_joined_ends_with_what_he_has_started() {
        let (open, path) = open();
        let (mut joined, mut stranger) = (shell(), Command::new("sleep").arg("60").spawn().unwrap());
        let deadline = Instant::now() + Duration::from_secs(60);
        let child = loop {
            match child_of(&joined) {
                Some(child) if child.name() == "sleep" => break child,
                _ => assert!(Instant::now() < deadline, "no child"),
            }
            std::thread::yield_now();
        };
        joins(&path, &joined);
        // One that is long gone, whose number may be another's.
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"\njoined 4194304\n").unwrap();
        assert_eq!(open.end(), 2);
        assert_eq!(joined.wait().unwrap().signal(), Some(Signal::SIGHUP as i32));
        assert_eq!(child.namespace_name("mnt"), None, "it outlives the session");
        assert_eq!(stranger.try_wait().unwrap(), None);
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }

    #[test]
    fn nobody_joins_a_session_that_has_ended() {
        let (open, path) = open();
        assert_eq!(open.end(), 0);
        assert!(JoinedProcesses::open(&path).unwrap().add().is_err());
        assert_eq!(open.joined(), []);
    }

    #[test]
    fn a_variable_is_no_process() {
        let (open, path) = open();
        assert_eq!(open.joined(), []);
        (0..2).for_each(|_| JoinedProcesses::open(&path).unwrap().add().unwrap());
        assert_eq!(open.joined(), [Pid::this(), Pid::this()]);
    }
}
