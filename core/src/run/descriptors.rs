//! Descriptors that a started engine inherits on purpose: memory files for the shim and the engine's configuration.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::run::{RunError, system};

static SHIM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/shim"));

/// The shim as an executable memory file, not close-on-exec: the container execs it through [`path`].
pub(crate) fn shim() -> Result<OwnedFd, RunError> {
    memory_file(c"condatainer-shim", SHIM)
}

/// A memory file that the engine inherits.
pub(crate) fn memory_file(name: &std::ffi::CStr, content: &[u8]) -> Result<OwnedFd, RunError> {
    let fd = memfd_create(name, MFdFlags::empty()).map_err(|e| system("cannot make a memory file")(e.into()))?;
    let mut file = File::from(fd);
    file.write_all(content).map_err(system("cannot fill a memory file"))?;
    Ok(file.into())
}

/// The path under which a child finds an inherited descriptor.
pub(crate) fn path(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}
