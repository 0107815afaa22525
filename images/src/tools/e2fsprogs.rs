//! The external tools mke2fs, e2fsck and resize2fs: how they are run, and what they say when they fail.

use std::fs::File;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::tools::memfd;
use crate::tools::programs;

/// A tool did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It is not there.
    #[error("{tool} was not found; install the package {package}")]
    Missing {
        /// Its name.
        tool: &'static str,
        /// The package that has it.
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
    /// It would not come to an end with this image.
    #[error(
        "its files claim the same blocks over and over again: {tool} would work on it for hours, and no accident makes such an image; go back to a copy"
    )]
    Endless {
        /// Its name.
        tool: &'static str,
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

/// A command for a tool, with what it needs until it is started.
pub(crate) struct Tool {
    command: Command,
    _config: Option<OwnedFd>,
}

impl Deref for Tool {
    type Target = Command;

    fn deref(&self) -> &Command {
        &self.command
    }
}

impl DerefMut for Tool {
    fn deref_mut(&mut self) -> &mut Command {
        &mut self.command
    }
}

/// A command for `tool`, with messages in English and nothing on its standard input.
pub(crate) fn command(tool: &'static str) -> Result<Tool, ToolError> {
    let mut command = Command::new(programs::find(tool).ok_or(ToolError::Missing { tool, package: "e2fsprogs" })?);
    command.env("LC_ALL", "C").stdin(Stdio::null());
    let config = if tool == "e2fsck" { Some(configure(&mut command)?) } else { None };
    Ok(Tool { command, _config: config })
}

/// What e2fsck is told in the place of `/etc/e2fsck.conf`, which is for the disks of the machine.
///
/// Problem 0x010047 is a directory that has an index although the file system lacks the feature `dir_index`. By itself e2fsck takes
/// the index away; here that is no problem at all, because [`crate::acquire::automatic_repair`] hides the feature while e2fsck works.
const CONFIG: &[u8] =
    b"[problems]\n0x010047 = {\nforce_no = true\nno_ok = true\nno_nomsg = true\npreen_nomessage = true\n}\n";

/// The file is in memory, and inherited: e2fsck reads it also when we are killed meanwhile.
fn configure(command: &mut Command) -> Result<OwnedFd, ToolError> {
    let fail = |error| ToolError::Start { tool: "e2fsck", error };
    let file = memfd::data(c"condatainer-e2fsck.conf", CONFIG, memfd::Flags::empty()).map_err(fail)?;
    command.env("E2FSCK_CONFIG", format!("/proc/self/fd/{}", file.as_raw_fd()));
    Ok(file)
}

/// An exit code of e2fsck up to this one: errors were corrected.
pub(crate) const CORRECTED: i32 = 1;

/// How a tool opens the file that it was given by [`command_on`].
pub(crate) const GIVEN_FILE: &str = "/proc/self/fd/0";

/// As [`command`], for work on an open file, whatever its path has become or contains: [`GIVEN_FILE`], its standard input.
///
/// Where `file` is locked, the lock holds until the tool has ended, even if this process is killed before.
pub(crate) fn command_on(tool: &'static str, file: &File) -> Result<Tool, ToolError> {
    let mut command = command(tool)?;
    let file = file.try_clone().map_err(|error| ToolError::Start { tool, error })?;
    command.stdin(file);
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

/// How soon somebody who asks to stop is heard.
const INTERVAL: Duration = Duration::from_millis(20);

/// As [`run`], but kills the tool as soon as `stop` says so; tells its exit code and what it printed. Nothing
/// else cuts it off: a Ctrl-C at the terminal does not reach it.
pub(crate) fn run_unless(
    stop: &dyn Fn() -> bool,
    tool: &'static str,
    command: &mut Command,
    worst: i32,
) -> Result<(i32, String), ToolError> {
    let output = output_unless(stop, command).map_err(|error| ToolError::Start { tool, error })?;
    match output.status.code() {
        Some(code) if code <= worst => Ok((code, String::from_utf8_lossy(&output.stdout).into_owned())),
        _ => Err(ToolError::Failed { tool, said: essence(tool, &output) }),
    }
}

fn output_unless(stop: &dyn Fn() -> bool, command: &mut Command) -> io::Result<Output> {
    let child = command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let pid = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    let (sender, receiver) = channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    loop {
        match receiver.recv_timeout(INTERVAL) {
            Ok(output) => return output,
            Err(RecvTimeoutError::Disconnected) => return Err(io::Error::other("its end was not seen")),
            Err(RecvTimeoutError::Timeout) if stop() => drop(kill(pid, Signal::SIGKILL)),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// What e2fsck and resize2fs say after the reason, about names that mean nothing to a user.
const ADVICE: [&str; 3] =
    ["UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY", "Please run 'e2fsck", "after the aborted resize operation"];

/// What the tool says beyond its own name and version: the last message, with the "while doing what" that follows on a line of
/// its own.
pub fn essence(tool: &str, output: &Output) -> String {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].join(&b'\n');
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> =
        text.lines().map(|line| without_names(tool, line)).filter(|line| is_reason(tool, line)).collect();
    match lines.as_slice() {
        [.., what, doing] if doing.trim().starts_with("while ") => format!("{} {}", what.trim(), doing.trim()),
        [.., last] => last.trim().to_owned(),
        [] => output.status.to_string(),
    }
}

/// The tool's name in front of a line, and the file's, which e2fsck may write twice.
fn without_names<'a>(tool: &str, line: &'a str) -> &'a str {
    let mut line = line;
    while let Some(rest) = [tool, GIVEN_FILE].iter().find_map(|name| line.strip_prefix(name)?.strip_prefix(':')) {
        line = rest.strip_prefix(' ').unwrap_or(rest);
    }
    line
}

/// Not the version, not what e2fsck adds in parentheses or indented to the message before, not its advice.
fn is_reason(tool: &str, line: &str) -> bool {
    let what = line.trim();
    let is_addition = (line.starts_with(char::is_whitespace) && !what.starts_with("while ")) || what.starts_with('(');
    let is_version = what.strip_prefix(tool).is_some_and(|rest| rest.starts_with(" 1."));
    !what.is_empty() && !is_addition && !is_version && !ADVICE.iter().any(|advice| what.contains(advice))
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
        let manual = "/proc/self/fd/0: /proc/self/fd/0: File /d (inode #13)\n  has 1 block\n/proc/self/fd/0: \t<metadata>\n\n\n/proc/self/fd/0: UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY.\n\t(i.e., without -a or -p options)\n";
        assert_eq!(said(manual), "File /d (inode #13)");
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
