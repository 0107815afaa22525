//! Processes as /proc shows them: names, parents, signals, variables and namespaces.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// More than any line of parents has.
const GENERATIONS: usize = 1000;

/// A process, by its directory in /proc. What is gone has no name, no parent and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    directory: PathBuf,
}

impl Process {
    /// This one.
    #[must_use]
    pub fn this() -> Self {
        Self::numbered("self")
    }

    /// The one with this number, whether it is there or not.
    #[must_use]
    pub fn numbered(number: impl Display) -> Self {
        Self { directory: PathBuf::from(format!("/proc/{number}")) }
    }

    /// The one whose directory is open here; its number may be another's by now.
    pub fn opened(directory: &OwnedFd) -> Self {
        Self { directory: PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())) }
    }

    /// All of this machine, as far as the caller sees it.
    pub fn all() -> impl Iterator<Item = Self> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
        entries.map(|directory| Self { directory }).filter(|process| process.pid().is_some())
    }

    /// Its directory in /proc.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its number, if that is how it was found.
    pub fn pid(&self) -> Option<Pid> {
        self.directory.file_name()?.to_str()?.parse().ok().map(Pid::from_raw)
    }

    pub(crate) fn exists(&self) -> bool {
        self.directory.exists()
    }

    /// As the kernel keeps it: the first 15 bytes.
    pub fn name(&self) -> String {
        self.text("comm").trim_end().to_owned()
    }

    /// What has started it, or adopted it since.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.stat(1).map(Self::numbered)
    }

    /// Whether it has ended, and its parent has not asked how. Where the first process of a machine asks nobody (some containers), it
    /// stays so, and keeps its name.
    pub fn is_zombie(&self) -> bool {
        self.state() == Some('Z')
    }

    /// What it does, as proc_pid_stat(5) says it in one letter.
    pub fn state(&self) -> Option<char> {
        self.stat(0)?.chars().next()
    }

    /// The kernel's function that it sleeps in, as proc_pid_wchan(5) says it; "0" where it runs, or that is nobody's business.
    pub fn waits_in(&self) -> String {
        self.text("wchan").trim_end().to_owned()
    }

    /// Its threads, the first of which has the process's number: each has most of what a process has.
    pub fn threads(&self) -> impl Iterator<Item = Self> + use<> {
        let entries = fs::read_dir(self.directory.join("task")).into_iter().flatten().flatten();
        entries.map(|entry| Self { directory: entry.path() })
    }

    /// A field of proc_pid_stat(5), counted from the one behind the name, which may hold spaces and brackets.
    fn stat(&self, field: usize) -> Option<String> {
        let stat = self.text("stat");
        Some(stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(field)?.to_owned())
    }

    /// Its parent, the parent's parent and so on.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> + use<> {
        std::iter::successors(self.parent(), Self::parent).take(GENERATIONS)
    }

    /// Whether it does something of its own about a signal.
    pub fn handles(&self, signal: Signal) -> bool {
        self.signals("SigCgt") & 1 << (signal as i32 - 1) != 0
    }

    /// A set of signals in proc_pid_status(5), the first signal as the lowest bit.
    pub fn signals(&self, set: &str) -> u64 {
        mask(&self.text("status"), set)
    }

    /// A line of proc_pid_status(5).
    pub fn status(&self, name: &str) -> Option<String> {
        field(&self.text("status"), name).map(str::to_owned)
    }

    /// The user that it runs as; `None` for one that has several ids, as a setuid program has. The owner of its directory is no
    /// answer: that is the effective id, so root for such a program, whoever has started it.
    pub fn owner(&self) -> Option<u32> {
        let ids = self.status("Uid")?;
        let mut ids = ids.split_ascii_whitespace().map(str::parse);
        let first = ids.next()?.ok()?;
        ids.all(|id| id == Ok(first)).then_some(first)
    }

    /// The variables that it was started with, as the kernel keeps them: a NUL byte ends each.
    ///
    /// # Errors
    /// It is gone, or may not be asked.
    pub fn environ(&self) -> io::Result<Vec<u8>> {
        fs::read(self.directory.join("environ"))
    }

    /// The words of its command line.
    ///
    /// # Errors
    /// It is gone, or may not be asked.
    pub fn arguments(&self) -> io::Result<Vec<OsString>> {
        let text = fs::read(self.directory.join("cmdline"))?;
        let words = text.strip_suffix(&[0]).unwrap_or(&text).split(|byte| *byte == 0);
        Ok(words.map(|word| OsStr::from_bytes(word).to_owned()).collect())
    }

    /// The root directory that it sees.
    pub fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    /// Its limits, as proc_pid_limits(5) shows them.
    pub fn limits(&self) -> String {
        self.text("limits")
    }

    /// A namespace as /proc/PID/ns names it.
    pub fn namespace(&self, kind: &str) -> io::Result<File> {
        File::open(self.directory.join("ns").join(kind))
    }

    /// What the kernel calls one of its namespaces; `None` where it does not say, as of a zombie or of another user's.
    pub fn namespace_name(&self, kind: &str) -> Option<PathBuf> {
        fs::read_link(self.directory.join("ns").join(kind)).ok()
    }

    /// Whether it is there and runs a program of our name: after a restart of the machine, or when numbers have come round, the
    /// process with a number is somebody else's.
    pub(crate) fn is_one_of_ours(&self) -> bool {
        self.exists() && self.name() == Self::this().name()
    }

    /// Whether another process is in the same namespace. A kernel without that kind has only one.
    pub fn shares(&self, other: &Self, kind: &str) -> bool {
        self.namespace_name(kind) == other.namespace_name(kind)
    }

    fn text(&self, file: &str) -> String {
        let bytes = fs::read(self.directory.join(file)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// This host's name.
#[must_use]
pub fn host_name() -> String {
    nix::unistd::gethostname().map_or_else(|_| "unknown".into(), |name| name.to_string_lossy().into_owned())
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn mask(status: &str, set: &str) -> u64 {
    field(status, set).and_then(|mask| u64::from_str_radix(mask, 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process() {
        let me = Process::this();
        assert_eq!(me.arguments().unwrap().first(), std::env::args_os().next().as_ref());
        let path = [b"PATH=", std::env::var_os("PATH").unwrap().as_bytes()].concat();
        assert!(me.environ().unwrap().split(|byte| *byte == 0).any(|variable| variable == path));
        assert!(me.shares(&Process::numbered(std::process::id()), "mnt") && me.namespace("user").is_ok());
        assert!(Process::all().any(|process| process.pid() == Some(Pid::this())));
        assert!(!Process::numbered(u32::MAX).exists());
        assert_eq!((me.owner(), Process::numbered(u32::MAX).owner()), (Some(nix::unistd::geteuid().as_raw()), None));
    }

    #[test]
    fn lines_of_the_status() {
        let status = "Name:\tx\nSigIgn:\t0000000000001001\nSigCgt:\t0\nSeccomp:\t0\n";
        assert_eq!((mask(status, "SigIgn"), mask(status, "SigCgt"), field(status, "Seccomp")), (0x1001, 0, Some("0")));
        assert_eq!((mask("no such line", "SigIgn"), field(status, "Sec")), (0, None));
    }

    #[test]
    fn a_child_has_its_parents() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::numbered(child.id());
        // The name is that of the program once it is executed.
        while process.name() != "sleep" {
            std::thread::yield_now();
        }
        let ours = Process::numbered(std::process::id());
        let found =
            (process.parent(), process.ancestors().any(|ancestor| ancestor == ours), process.handles(Signal::SIGHUP));
        child.kill().unwrap();
        while !process.is_zombie() {
            std::thread::yield_now();
        }
        assert_eq!(process.name(), "sleep");
        child.wait().unwrap();
        assert!(!process.is_zombie());
        assert_eq!(found, (Some(ours), true, false));
        assert_eq!((process.parent(), process.name()), (None, String::new()));
    }
}
