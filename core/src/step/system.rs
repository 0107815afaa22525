//! The system that a task sees once it is in the container, for the job that the task becomes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::join::command::{ENOENT, System, Variables};

/// This process's.
pub(crate) struct Own;

impl System for Own {
    fn exists(&self, path: &[u8]) -> bool {
        Path::new(OsStr::from_bytes(path)).exists()
    }

    /// Not by the system call alone: a Rust program has SIGPIPE ignored, and the command must not.
    fn execute(&self, file: &[u8], arguments: &[Vec<u8>], variables: &Variables) -> i32 {
        let mut words = arguments.iter().map(|word| OsStr::from_bytes(word));
        let mut command = Command::new(OsStr::from_bytes(file));
        command.arg0(words.next().unwrap_or_default()).args(words).env_clear();
        command.envs(variables.iter().map(|(name, value)| (OsStr::from_bytes(name), OsStr::from_bytes(value))));
        command.exec().raw_os_error().unwrap_or(ENOENT)
    }
}
