//! What a process may do, as another one's is made this one's.

use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use condatainer_images::system::process::Process;

/// What proc_pid_status(5) says of a process's privileges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Privileges {
    inheritable: CapabilitySet,
    permitted: CapabilitySet,
    effective: CapabilitySet,
    bounding: CapabilitySet,
    ambient: CapabilitySet,
    no_new_privileges: bool,
}

impl Privileges {
    pub(super) fn of(process: &Process) -> io::Result<Self> {
        Self::read(|name| process.status(name))
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "an unknown form of /proc/PID/status"))
    }

    /// Of these lines.
    pub(super) fn read(field: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let set = |name| Some(CapabilitySet::from_bits_retain(u64::from_str_radix(&field(name)?, 16).ok()?));
        Some(Self {
            inheritable: set("CapInh")?,
            permitted: set("CapPrm")?,
            effective: set("CapEff")?,
            bounding: set("CapBnd")?,
            ambient: set("CapAmb")?,
            no_new_privileges: field("NoNewPrivs")? == "1",
        })
    }

    /// Makes these the calling process's own, which has all of them.
    pub(super) fn take(&self) -> rustix::io::Result<()> {
        let each = || (0..64).map(|number| CapabilitySet::from_bits_retain(1 << number));
        for capability in each().filter(|one| !self.bounding.contains(*one)) {
            match remove_capability_from_bounding_set(capability) {
                // Past the last one that this kernel has.
                Ok(()) | Err(rustix::io::Errno::INVAL) => {}
                Err(error) => return Err(error),
            }
        }
        clear_ambient_capability_set()?;
        let (effective, permitted, inheritable) = (self.effective, self.permitted, self.inheritable);
        set_capabilities(None, CapabilitySets { effective, permitted, inheritable })?;
        for capability in each().filter(|one| self.ambient.contains(*one)) {
            configure_capability_in_ambient_set(capability, true)?;
        }
        if self.no_new_privileges {
            set_no_new_privs(true)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read() {
        assert!(Privileges::of(&Process::this()).is_ok());
        let field = |name: &str| match name {
            "NoNewPrivs" => Some("1".to_owned()),
            "CapEff" => Some("0000000000000001".to_owned()),
            _ => Some("000001ffffffffff".to_owned()),
        };
        let read = Privileges::read(field).unwrap();
        assert_eq!((read.effective, read.no_new_privileges), (CapabilitySet::CHOWN, true));
        assert_eq!(Privileges::read(|_| None), None);
    }
}
