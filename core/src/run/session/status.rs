//! The lines of proc_pid_status(5) that tell what a process may do, which whoever joins its container has to take over.

/// Capabilities and no_new_privs, which can be given up.
pub(crate) const PRIVILEGES: [&str; 6] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs"];

/// Filters of system calls, which cannot be given to another process.
pub(crate) const SECCOMP: &str = "Seccomp";
