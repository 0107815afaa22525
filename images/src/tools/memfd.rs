//! Files in memory, which other programs inherit: nobody can put another one in their place. A program is of our own release then.

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
    filled(name, content, flags, Flags::EXEC)
}

/// A memory file that holds no program, as every machine allows it.
///
/// # Errors
/// There is no memory.
pub fn data(name: &CStr, content: &[u8], flags: Flags) -> io::Result<OwnedFd> {
    filled(name, content, flags, Flags::NOEXEC_SEAL)
}

/// Where `vm.memfd_noexec` is 1 only a file that was made for it can be executed, and where it is 2 there are only others. Linux
/// before 6.3 does not know these flags.
fn filled(name: &CStr, content: &[u8], flags: Flags, kind: Flags) -> io::Result<OwnedFd> {
    let file = match memfd_create(name, flags | kind) {
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
        let file = File::from(data(c"x", b"x", Flags::CLOEXEC).unwrap());
        assert_eq!(file.metadata().unwrap().len(), 1);
    }
}
