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
    /// It is not there, and comes with another package.
    #[error("{tool} was not found; install the package {package}")]
    Absent {
        /// Its name.
        tool: &'static str,
        /// The package's.
        package: &'static str,
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

/// What the tool says beyond its own name and version: the last message, with the "while doing what" that follows on a line of
/// its own.
fn essence(tool: &str, output: &Output) -> String {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].join(&b'\n');
    let text = String::from_utf8_lossy(&text);
    let (banner, prefix) = (format!("{tool} 1."), format!("{tool}: "));
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with(&banner)).collect();
    let message = match lines.as_slice() {
        [.., what, doing] if doing.starts_with("while ") => format!("{what} {doing}"),
        [.., last] => (*last).to_owned(),
        [] => return output.status.to_string(),
    };
    message.strip_prefix(&prefix).map_or(message.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_comes_with_what_was_being_done() {
        let said = |stderr: &str| {
            let output = Output { status: Default::default(), stdout: Vec::new(), stderr: stderr.into() };
            essence("mke2fs", &output)
        };
        let full = "mke2fs 1.47.0 (5-Feb-2023)\nmke2fs: No space left on device \n\twhile trying to create journal\n";
        assert_eq!(said(full), "No space left on device while trying to create journal");
        assert_eq!(said("mke2fs: Permission denied\n"), "Permission denied");
        assert_eq!(said(""), "exit status: 0");
    }

    #[test]
    fn failures_carry_the_tools_own_words() {
        let mut command = command("mke2fs").unwrap();
        let error = run("mke2fs", command.args(["-q", "-F", "/nowhere/at/all", "8M"]), 0).unwrap_err();
        assert!(error.to_string().starts_with("mke2fs failed: "), "{error}");
        assert!(error.to_string().contains("No such file"), "{error}");
    }
}
