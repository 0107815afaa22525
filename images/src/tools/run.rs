//! One way to run a tool: found also where users have no PATH to, speaking English, with nothing on its standard input unless it is
//! given something, and what it prints kept up to a limit.
//!
//! It starts no thread. Builds need more (a session with a guard) and have their own way, core's `build::process`.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::error::ToolError;
use super::programs;
use super::reason::reason;

/// So much of each stream is kept, in bytes: its end, where tools say why they failed.
const MOST: usize = 1 << 20;
/// How soon somebody who asks to stop is heard, in milliseconds.
const INTERVAL: u8 = 20;
/// How long a killed command is waited for before it is abandoned.
const AFTER_KILL: Duration = Duration::from_secs(1);

/// A tool that is to be run.
pub(crate) struct Tool {
    name: &'static str,
    command: Command,
    /// Open until it was started.
    inherited: Option<OwnedFd>,
}

impl Tool {
    /// The tool of this name, which is in `package`.
    pub(crate) fn new(name: &'static str, package: &'static str) -> Result<Self, ToolError> {
        let mut command = Command::new(programs::find(name).ok_or(ToolError::Missing { tool: name, package })?);
        command.env("LC_ALL", "C").stdin(Stdio::null());
        Ok(Self { name, command, inherited: None })
    }

    /// Where it lies.
    pub(crate) fn program(&self) -> &OsStr {
        self.command.get_program()
    }

    pub(crate) fn arg(&mut self, word: impl AsRef<OsStr>) -> &mut Self {
        self.command.arg(word);
        self
    }

    pub(crate) fn args<W: AsRef<OsStr>>(&mut self, words: impl IntoIterator<Item = W>) -> &mut Self {
        self.command.args(words);
        self
    }

    pub(crate) fn env(&mut self, name: &str, value: impl AsRef<OsStr>) -> &mut Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn stdin(&mut self, from: impl Into<Stdio>) -> &mut Self {
        self.command.stdin(from);
        self
    }

    /// Lets it have `file` open, whatever number that has.
    pub(crate) fn inherit(&mut self, file: OwnedFd) -> &mut Self {
        self.inherited = Some(file);
        self
    }

    /// Gives it an open file to work on, whatever the file's path has become or contains: [`super::open_file::GIVEN_FILE`], its standard
    /// input.
    ///
    /// Where `file` is locked, the lock holds until the tool has ended, even if this process is killed before.
    pub(crate) fn on(&mut self, file: &File) -> Result<&mut Self, ToolError> {
        let file = file.try_clone().map_err(|error| self.not_started(error))?;
        Ok(self.stdin(file))
    }

    /// In a process group of its own a Ctrl-C at the terminal does not reach it: it is ours to end it, or to wait.
    pub(crate) fn in_own_group(&mut self) -> &mut Self {
        self.command.process_group(0);
        self
    }

    /// Runs it, and takes an exit code up to `worst` for success.
    pub(crate) fn run(&mut self, worst: i32) -> Result<Output, ToolError> {
        self.judged(None, worst)
    }

    /// As [`Tool::run`], but kills it as soon as `stop` says so; nothing else cuts it off.
    pub(crate) fn run_unless(&mut self, stop: &dyn Fn() -> bool, worst: i32) -> Result<Output, ToolError> {
        self.in_own_group().judged(Some(KilledWhen { asked: stop, abandons: false }), worst)
    }

    fn judged(&mut self, stop: Option<KilledWhen<'_>>, worst: i32) -> Result<Output, ToolError> {
        let output = captured(&mut self.command, stop).map_err(|error| self.not_started(error))?;
        match output.status.code() {
            Some(code) if code <= worst => Ok(output),
            _ => Err(ToolError::Failed { tool: self.name, said: reason(self.name, &output) }),
        }
    }

    /// Runs it, and passes on each line as it comes, without control characters: names in an image are anybody's.
    pub(crate) fn run_telling(&mut self, tell: &mut dyn FnMut(Stream, &str)) -> Result<ExitStatus, ToolError> {
        let mut lines = [Lines::default(), Lines::default()];
        let hear = &mut |stream: Stream, piece: &[u8]| {
            lines[stream as usize].push(piece, &mut |line| tell(stream, line));
        };
        let status = heard(&mut self.command, None, hear).map_err(|error| self.not_started(error))?;
        for (stream, lines) in [Stream::Out, Stream::Err].into_iter().zip(&mut lines) {
            lines.end(&mut |line| tell(stream, line));
        }
        Ok(status)
    }

    /// Starts it in a process group of its own, to be fed at its standard input. Its messages go to a file without a name, so it
    /// never waits for somebody to read them.
    pub(crate) fn feed(&mut self) -> Result<Fed, ToolError> {
        let start = |command: &mut Command| {
            let messages = tempfile::tempfile()?;
            let copy = || messages.try_clone().map(Stdio::from);
            command.process_group(0).stdin(Stdio::piped()).stdout(copy()?).stderr(copy()?);
            Ok(Fed { child: command.spawn()?, messages })
        };
        start(&mut self.command).map_err(|error| self.not_started(error))
    }

    fn not_started(&self, error: io::Error) -> ToolError {
        ToolError::Start { tool: self.name, error }
    }
}

/// A tool that is fed. It is ended when this is dropped before its time.
pub(crate) struct Fed {
    child: Child,
    messages: File,
}

impl Fed {
    /// Its standard input, once. It sees the end when this is dropped.
    pub(crate) fn input(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// How it ended, or nothing yet.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits for an end that is sure to come, because it has said that it cannot go on.
    pub(crate) fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }

    /// What it has said so far, on both streams.
    pub(crate) fn said(&mut self) -> io::Result<String> {
        let mut said = String::new();
        self.messages.rewind()?;
        (&self.messages).take(MOST as u64).read_to_string(&mut said)?;
        Ok(said)
    }
}

impl Drop for Fed {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Which of its streams something was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Out = 0,
    Err = 1,
}

/// When a command is not waited for any longer. It must lead a process group of its own, all of which is killed then.
#[derive(Clone, Copy)]
pub struct KilledWhen<'a> {
    /// Asked again and again.
    pub asked: &'a dyn Fn() -> bool,
    /// Whether one that hangs in the kernel is left behind, a second after it was killed.
    pub abandons: bool,
}

/// Runs any command to its end and keeps what it prints.
///
/// # Errors
/// It cannot be started, or was abandoned.
pub fn captured(command: &mut Command, stop: Option<KilledWhen<'_>>) -> io::Result<Output> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let status = heard(command, stop, &mut |stream, piece| {
        let kept = if stream == Stream::Out { &mut stdout } else { &mut stderr };
        kept.extend_from_slice(piece);
        if kept.len() > 2 * MOST {
            kept.drain(..kept.len() - MOST);
        }
    })?;
    Ok(Output { status, stdout, stderr })
}

fn heard(
    command: &mut Command,
    stop: Option<KilledWhen<'_>>,
    hear: &mut dyn FnMut(Stream, &[u8]),
) -> io::Result<ExitStatus> {
    let mut tool = Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?);
    let mut open = Vec::new();
    open.extend(tool.0.stdout.take().map(|from| (Stream::Out, File::from(OwnedFd::from(from)))));
    open.extend(tool.0.stderr.take().map(|from| (Stream::Err, File::from(OwnedFd::from(from)))));
    let Some(stop) = stop else {
        while !open.is_empty() {
            read_what_is_there(&mut open, PollTimeout::NONE, hear)?;
        }
        return tool.0.wait();
    };
    let mut killed: Option<Instant> = None;
    loop {
        // Without a stream left this waits for the time alone: a tool may live on when it has closed them.
        read_what_is_there(&mut open, PollTimeout::from(INTERVAL), hear)?;
        if open.is_empty()
            && let Some(status) = tool.0.try_wait()?
        {
            return Ok(status);
        }
        match killed {
            Some(at) if stop.abandons && at.elapsed() > AFTER_KILL => {
                tool.abandon();
                return Err(io::ErrorKind::TimedOut.into());
            }
            None if (stop.asked)() => {
                let _ = killpg(Pid::from_raw(i32::try_from(tool.0.id()).map_err(io::Error::other)?), Signal::SIGKILL);
                killed = Some(Instant::now());
            }
            _ => {}
        }
    }
}

/// A started tool, which does not outlive the interest in it.
struct Running(Child);

impl Running {
    /// It was killed, and hangs in the kernel.
    fn abandon(self) {
        std::mem::forget(self);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// Waits for something to be read, and leaves out of `open` what has come to its end.
fn read_what_is_there(
    open: &mut Vec<(Stream, File)>,
    timeout: PollTimeout,
    hear: &mut dyn FnMut(Stream, &[u8]),
) -> io::Result<()> {
    let mut asked: Vec<PollFd<'_>> =
        open.iter().map(|(_, from)| PollFd::new(from.as_fd(), PollFlags::POLLIN)).collect();
    match poll(&mut asked, timeout) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let ready: Vec<bool> = asked.iter().map(|asked| asked.any().unwrap_or(false)).collect();
    let mut piece = [0; 16 << 10];
    let mut ready = ready.into_iter();
    open.retain_mut(|(stream, from)| {
        if !ready.next().unwrap_or(false) {
            return true;
        }
        match from.read(&mut piece) {
            Ok(length @ 1..) => {
                hear(*stream, piece.get(..length).unwrap_or_default());
                true
            }
            Err(error) => error.kind() == io::ErrorKind::Interrupted,
            Ok(_) => false,
        }
    });
    Ok(())
}

/// A stream cut into lines.
#[derive(Debug, Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn push(&mut self, piece: &[u8], tell: &mut dyn FnMut(&str)) {
        let mut parts = piece.split(|&byte| byte == b'\n');
        let last = parts.next_back();
        for part in parts {
            self.add(part);
            self.tell(tell);
        }
        self.add(last.unwrap_or_default());
    }

    /// A line without end is cut.
    fn add(&mut self, part: &[u8]) {
        let room = MOST.saturating_sub(self.0.len());
        self.0.extend_from_slice(part.get(..room).unwrap_or(part));
    }

    fn tell(&mut self, tell: &mut dyn FnMut(&str)) {
        let line = String::from_utf8_lossy(&self.0);
        tell(&line.chars().filter(|c| *c == '\t' || !c.is_control()).collect::<String>());
        self.0.clear();
    }

    /// The last line may lack its end.
    fn end(&mut self, tell: &mut dyn FnMut(&str)) {
        if !self.0.is_empty() {
            self.tell(tell);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Tool {
        let mut tool = Tool::new("sh", "dash").unwrap();
        tool.args(["-c", script]);
        tool
    }

    #[test]
    fn both_streams_and_the_end() {
        let output = shell("echo out; echo err >&2; exit 3").run(3).unwrap();
        assert_eq!((output.stdout, output.stderr), (b"out\n".to_vec(), b"err\n".to_vec()));
        let error = shell("echo why >&2; exit 3").run(2).unwrap_err();
        assert_eq!(error.to_string(), "sh failed: why");
        assert_eq!(shell("kill -9 $$").run(0).unwrap_err().to_string(), "sh failed: signal: 9 (SIGKILL)");
        assert!(matches!(Tool::new("no-such-tool", "none"), Err(ToolError::Missing { .. })));
    }

    #[test]
    fn a_flood_is_read_to_its_end_and_its_end_is_kept() {
        let output = shell("head -c 9000000 /dev/zero; echo; echo last").run(0).unwrap();
        assert!(output.stdout.len() <= 2 * MOST && output.stdout.ends_with(b"\nlast\n"));
    }

    #[test]
    fn lines_as_they_come() {
        let mut told = Vec::new();
        let script = "printf 'a\\nb\\033[2Jc\\n\\nlast'; echo err >&2";
        let status = shell(script).run_telling(&mut |stream, line| told.push((stream, line.to_owned()))).unwrap();
        assert!(status.success());
        let of = |stream| told.iter().filter(|told| told.0 == stream).map(|told| told.1.as_str()).collect::<Vec<_>>();
        assert_eq!((of(Stream::Out), of(Stream::Err)), (vec!["a", "b[2Jc", "", "last"], vec!["err"]));
    }

    #[test]
    fn stopped_with_all_that_it_has_started() {
        let error = shell("sleep 600 & sleep 600").run_unless(&|| true, 0).unwrap_err();
        assert_eq!(error.to_string(), "sh failed: signal: 9 (SIGKILL)");
    }

    #[test]
    fn one_that_has_closed_its_streams_is_stopped_too() {
        let error = shell("exec > /dev/null 2>&1; sleep 600").run_unless(&|| true, 0).unwrap_err();
        assert_eq!(error.to_string(), "sh failed: signal: 9 (SIGKILL)");
        let output = shell("echo said; exec > /dev/null 2>&1; sleep 0.1; exit 2").run_unless(&|| false, 2).unwrap();
        assert_eq!(output.stdout, b"said\n");
    }

    #[test]
    fn fed_and_heard() {
        let mut fed = shell("cat; echo messages >&2").feed().unwrap();
        io::Write::write_all(&mut fed.input().unwrap(), b"fed ").unwrap();
        assert!(fed.wait().unwrap().success());
        assert_eq!(fed.said().unwrap(), "fed messages\n");
    }
}
