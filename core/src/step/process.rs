//! Another process as /proc shows it: its variables, arguments, credentials and namespaces.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::thread::CapabilitySet;

use super::join::command::Variables;

/// A process's directory in /proc, by its number or through a descriptor.
#[derive(Clone, Debug)]
pub(crate) struct Process(pub(crate) PathBuf);

/// What proc_pid_status(5) says of a process's privileges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Privileges {
    pub(crate) inheritable: CapabilitySet,
    pub(crate) permitted: CapabilitySet,
    pub(crate) effective: CapabilitySet,
    pub(crate) bounding: CapabilitySet,
    pub(crate) ambient: CapabilitySet,
    pub(crate) no_new_privileges: bool,
    /// Filters of system calls.
    pub(crate) seccomp: u64,
}

impl Process {
    pub(crate) fn numbered(pid: i32) -> Self {
        Self(PathBuf::from(format!("/proc/{pid}")))
    }

    /// The variables that it was started with.
    pub(crate) fn variables(&self) -> io::Result<Variables> {
        let text = fs::read(self.0.join("environ"))?;
        Ok(text.split(|byte| *byte == 0).filter_map(assignment).collect())
    }

    pub(crate) fn arguments(&self) -> io::Result<Vec<OsString>> {
        let text = fs::read(self.0.join("cmdline"))?;
        let words = text.strip_suffix(&[0]).unwrap_or(&text).split(|byte| *byte == 0);
        Ok(words.map(|word| OsStr::from_bytes(word).to_owned()).collect())
    }

    pub(crate) fn privileges(&self) -> io::Result<Privileges> {
        let text = fs::read_to_string(self.0.join("status"))?;
        Privileges::parse(&text)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "an unknown form of /proc/PID/status"))
    }

    /// A namespace as /proc/PID/ns names it.
    pub(crate) fn namespace(&self, name: &str) -> io::Result<File> {
        File::open(self.0.join("ns").join(name))
    }

    /// What the kernel calls one of its namespaces; empty where it does not say.
    pub(crate) fn namespace_name(&self, name: &str) -> String {
        fs::read_link(self.0.join("ns").join(name)).unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Whether another process is in the same namespace. A kernel without that kind has only one.
    pub(crate) fn shares(&self, other: &Self, name: &str) -> bool {
        self.namespace_name(name) == other.namespace_name(name)
    }
}

impl Privileges {
    fn parse(status: &str) -> Option<Self> {
        let field =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
        let set = |name| Some(CapabilitySet::from_bits_retain(u64::from_str_radix(field(name)?, 16).ok()?));
        Some(Self {
            inheritable: set("CapInh")?,
            permitted: set("CapPrm")?,
            effective: set("CapEff")?,
            bounding: set("CapBnd")?,
            ambient: set("CapAmb")?,
            no_new_privileges: field("NoNewPrivs")? == "1",
            // Kernels without it do not say.
            seccomp: field("Seccomp").map_or(Some(0), |mode| mode.parse().ok())?,
        })
    }
}

fn assignment(text: &[u8]) -> Option<(OsString, OsString)> {
    let at = text.iter().position(|byte| *byte == b'=')?;
    Some((OsStr::from_bytes(&text[..at]).to_owned(), OsStr::from_bytes(&text[at + 1..]).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process() {
        let me = Process("/proc/self".into());
        assert_eq!(me.arguments().unwrap().first(), std::env::args_os().next().as_ref());
        assert_eq!(me.variables().unwrap().get(OsStr::new("PATH")), std::env::var_os("PATH").as_ref());
        assert!(me.shares(&Process("/proc/thread-self".into()), "mnt") && me.namespace("user").is_ok());
        assert!(me.privileges().is_ok());
    }

    #[test]
    fn privileges_are_read() {
        let text = "Name:\tx\nCapInh:\t0000000000000000\nCapPrm:\t000001ffffffffff\nCapEff:\t0000000000000001\nCapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t0\n";
        let read = Privileges::parse(text).unwrap();
        assert_eq!((read.effective, read.no_new_privileges, read.seccomp), (CapabilitySet::CHOWN, true, 0));
        assert_eq!(Privileges::parse(""), None);
    }
}
