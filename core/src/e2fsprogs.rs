//! The external tools mke2fs and e2fsck: how they are run, and what they say when they fail.

use std::io;
use std::process::{Command, Output, Stdio};

use crate::programs;

/// A tool did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It is not there.
    #[error("{tool} was not found; install the package e2fsprogs")]
    Missing {
        /// Its name.
        tool: &'static str,
    },
    /// It could not be started.
    #[error("{tool} could not be started: {error}")]
    Start {
        /// Its name.
        tool: &'static str,
        /// As the system said it.
        error: io::Error,
    },
    /// It ended with an error.
    #[error("{tool} failed: {said}")]
    Failed {
        /// Its name.
        tool: &'static str,
        /// The line in which it says why.
        said: String,
    },
}

/// A command for `tool`, with messages in English and nothing on its standard input.
pub(crate) fn command(tool: &'static str) -> Result<Command, ToolError> {
    let mut command = Command::new(programs::find(tool).ok_or(ToolError::Missing { tool })?);
    command.env("LC_ALL", "C").stdin(Stdio::null());
    Ok(command)
}

/// Runs `command` and takes an exit code up to `worst` for success.
pub(crate) fn run(tool: &'static str, command: &mut Command, worst: i32) -> Result<(), ToolError> {
    let output = command.output().map_err(|error| ToolError::Start { tool, error })?;
    match output.status.code() {
        Some(code) if code <= worst => Ok(()),
        _ => Err(ToolError::Failed { tool, said: essence(tool, &output) }),
    }
}

/// The last line that says something beyond the tool's own name and version.
fn essence(tool: &str, output: &Output) -> String {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].join(&b'\n');
    let text = String::from_utf8_lossy(&text);
    let banner = format!("{tool} 1.");
    let mut lines = text.lines().rev().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(&banner));
    lines.next().map_or_else(|| output.status.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_carry_the_tools_own_words() {
        let mut command = command("mke2fs").unwrap();
        let error = run("mke2fs", command.args(["-q", "-F", "/nowhere/at/all", "8M"]), 0).unwrap_err();
        assert!(error.to_string().starts_with("mke2fs failed: "), "{error}");
        assert!(error.to_string().contains("No such file"), "{error}");
    }
}
