//! Programs in memory: what is executed so is of our own release, and nobody can put another file in its place.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use rustix::fs::memfd_create;
use rustix::io::Errno;

pub use rustix::fs::MemfdFlags as Flags;

/// A memory file that holds a program. Without `CLOEXEC` among the flags, other programs inherit it.
///
/// # Errors
/// There is no memory, or the machine forbids programs in memory (`vm.memfd_noexec` is 2).
pub fn program(name: &CStr, content: &[u8], flags: Flags) -> io::Result<OwnedFd> {
    // Where `vm.memfd_noexec` is 1 only a file that was made for it can be executed. Linux before 6.3 does not know the flag.
    let file = match memfd_create(name, flags | Flags::EXEC) {
        Err(Errno::INVAL) => memfd_create(name, flags)?,
        made => made?,
    };
    let mut file = File::from(file);
    file.write_all(content)?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn it_may_be_executed() {
        let file = File::from(program(c"x", b"#!/bin/sh", Flags::CLOEXEC).unwrap());
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o111, 0o111);
    }
}
