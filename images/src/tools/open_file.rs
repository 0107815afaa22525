//! An open file as a tool can open it, whatever the file's own path has become or contains.

use std::fs::File;
use std::os::fd::AsRawFd;

/// The file that a tool has as its standard input.
pub(crate) const GIVEN_FILE: &str = "/proc/self/fd/0";

/// A file that this process has open, for as long as it has.
#[must_use]
pub fn path_of(file: &File) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())
}
