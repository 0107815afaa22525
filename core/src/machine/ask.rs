//! What another program answers, within a limited time: a health check must end.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use condatainer_images::tools::run::{KilledWhen, captured};

/// srun may wait for a controller that does not answer.
const LIMIT: Duration = Duration::from_secs(5);

/// How a program ended, and what it printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Whether it ended with 0.
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Answer {
    /// Both streams: programs do not agree where a version belongs.
    pub(crate) fn both(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }

    /// The first line of its complaint.
    pub(crate) fn complaint(&self) -> String {
        let line = self.stderr.lines().chain(self.stdout.lines()).find(|line| !line.trim().is_empty());
        line.unwrap_or("it ended with an error and said nothing").trim().to_owned()
    }
}

/// Runs a program with these arguments, in English.
///
/// # Errors
/// Why it did not start, or that it was ended because it took too long.
pub(crate) fn ask(program: &Path, arguments: &[&str]) -> io::Result<Answer> {
    let mut command = Command::new(program);
    command.args(arguments);
    ask_by(command)
}

/// As [`ask`], for any command.
pub(crate) fn ask_by(mut command: Command) -> io::Result<Answer> {
    command.env("LC_ALL", "C").stdin(Stdio::null()).process_group(0);
    let started = Instant::now();
    let is_late = || started.elapsed() > LIMIT;
    match captured(&mut command, Some(KilledWhen { asked: &is_late, abandons: true })) {
        Ok(output) if output.status.code().is_some() || !is_late() => Ok(of(output)),
        Err(error) if !is_late() => Err(error),
        _ => Err(io::Error::new(io::ErrorKind::TimedOut, format!("it did not answer within {} s", LIMIT.as_secs()))),
    }
}

fn of(output: Output) -> Answer {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Answer { success: output.status.success(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_streams_and_the_end() {
        let answer = ask(Path::new("/bin/sh"), &["-c", "echo out; echo; echo err >&2; exit 3"]).unwrap();
        assert!(!answer.success && answer.stdout == "out\n\n" && answer.complaint() == "err");
        assert!(ask(Path::new("/no/such"), &[]).is_err());
    }
}
