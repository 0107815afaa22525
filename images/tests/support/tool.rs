//! Programs that tests call, also where root's directories are not in PATH.

use std::env;
use std::process::Command;

/// A program by its path. With a PATH of its own `Command` forks instead of spawning, and a fork copies the page tables of a test
/// that holds images in memory.
pub fn tool(name: &str) -> Command {
    let places = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", env::var("PATH").unwrap_or_default());
    let mut found = env::split_paths(&places).map(|place| place.join(name)).filter(|path| path.is_file());
    let mut command = Command::new(found.next().unwrap_or_else(|| name.into()));
    command.env("LC_ALL", "C");
    command
}
