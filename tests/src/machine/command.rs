//! A command run on a node: as a user, with a clean login-like environment, in the node's namespaces, and with a time
//! limit that ends everything it started. [`entry`] has the way in.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::fchown;
use std::os::unix::process::ExitStatusExt;
use std::process::{self, Child, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::machine::users::{Account, Accounts};
use crate::machine::{entry, interrupt, process as tree};

/// How a command ended and what it said.
#[derive(Clone, Debug)]
pub struct Output {
    /// The exit code as a shell would give it: the command's own, or 128+N after signal N.
    pub code: i32,
    /// Standard output; bytes that are no UTF-8 are replaced.
    pub stdout: String,
    /// Standard error; bytes that are no UTF-8 are replaced.
    pub stderr: String,
    /// Standard output as it came.
    pub raw_stdout: Vec<u8>,
    /// From start to exit.
    pub elapsed: Duration,
}

impl Output {
    /// This output, if the command succeeded.
    ///
    /// # Errors
    /// When the exit code is not 0; the message has the code and both outputs.
    pub fn success(self) -> Result<Self> {
        ensure!(self.code == 0, "exit code {}\nstdout:\n{}\nstderr:\n{}", self.code, self.stdout, self.stderr);
        Ok(self)
    }
}

/// A command to be run; made by [`crate::slurm::cluster::Cluster::command`] and its like.
#[derive(Clone, Debug)]
#[must_use]
pub struct Command<'a> {
    init: i32,
    accounts: &'a Accounts,
    user: String,
    directory: Option<String>,
    environment: BTreeMap<String, String>,
    stdin: Vec<u8>,
    timeout: Duration,
    has_terminal: bool,
}

impl<'a> Command<'a> {
    pub(crate) fn new(init: i32, accounts: &'a Accounts, user: &str, environment: BTreeMap<String, String>) -> Self {
        Self {
            init,
            accounts,
            user: user.to_owned(),
            directory: None,
            environment,
            stdin: Vec::new(),
            timeout: Duration::from_secs(120),
            has_terminal: false,
        }
    }

    /// The working directory; the user's home by default.
    pub fn cwd(mut self, directory: &str) -> Self {
        self.directory = Some(directory.to_owned());
        self
    }

    /// One more environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// What the command reads on standard input; nothing by default.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// When to end the command and everything it started; 120 s by default.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// Gives the command a terminal of its own, on which both outputs then come as one, with `\r\n`. It does not end by
    /// itself: where the command reads to the end, let the input end with Ctrl-D (`\x04`).
    pub fn terminal(mut self) -> Self {
        self.has_terminal = true;
        self
    }

    /// Runs a bash text.
    ///
    /// # Errors
    /// As [`Command::run`].
    pub fn script(&self, text: &str) -> Result<Output> {
        self.run(&["bash", "-c", text])
    }

    /// Runs the command to its end. Outputs are complete unless a process that was left behind in the background holds
    /// them open for more than half a second after the command itself.
    ///
    /// # Errors
    /// When the user is not known, the command cannot be started, or the time is up (with what was said until then).
    pub fn run(&self, argv: &[&str]) -> Result<Output> {
        let account = self.accounts.find(&self.user)?;
        let start = Instant::now();
        let mut command = self.prepared(account, argv, true);
        let has_input = self.has_terminal || !self.stdin.is_empty();
        command.stdin(if has_input { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = entry::spawn(self.init, account, &mut command)?;
        let streams = Streams::of(&mut child, account, self.stdin.clone(), self.has_terminal)?;
        let status = wait(&mut child, start + self.timeout)?;
        if status.is_none() {
            tree::end_tree(i32::try_from(child.id())?);
            child.wait().context("cannot wait for the command")?;
        }
        let output = streams.output(status, start.elapsed());
        if status.is_none() {
            bail!("time is up after {} s: {argv:?}\n{}\n{}", self.timeout.as_secs(), output.stdout, output.stderr);
        }
        Ok(output)
    }

    /// Runs the command on this process's own standard input, output and error, without a time limit, and returns its
    /// exit code.
    ///
    /// # Errors
    /// When the user is not known or the command cannot be started.
    pub fn stream(&self, argv: &[&str]) -> Result<i32> {
        let account = self.accounts.find(&self.user)?;
        let mut child = entry::spawn(self.init, account, &mut self.prepared(account, argv, false))?;
        Ok(exit_code(child.wait().context("cannot wait for the command")?))
    }

    /// What is started. `has_session`: in a session of its own, so without a way to the terminal of whoever runs the tests.
    fn prepared(&self, account: &Account, argv: &[&str], has_session: bool) -> process::Command {
        let mut words: Vec<&str> = Vec::new();
        if has_session {
            words.push("/usr/bin/setsid");
        }
        // Whoever runs the tests in the background ignores SIGINT, and what it starts would, too.
        if interrupt::ignores_signals() {
            words.extend(["/usr/bin/env", "--default-signal"]);
        }
        let line = quoted(argv);
        match self.has_terminal {
            true => words.extend(["/usr/bin/script", "-qec", &line, "/dev/null"]),
            false => words.extend(argv),
        }
        let directory = self.directory.as_deref().unwrap_or(&account.home);
        let mut command = process::Command::new(words.first().copied().unwrap_or_default());
        command.args(words.iter().skip(1)).current_dir(directory);
        command.env_clear().env("PWD", directory).envs(login_environment(account)).envs(&self.environment);
        command
    }
}

fn login_environment(account: &Account) -> [(&'static str, String); 6] {
    let path = if account.uid == 0 { crate::machine::host::PATH } else { "/usr/local/bin:/usr/bin:/bin" };
    [
        ("HOME", account.home.clone()),
        ("USER", account.name.clone()),
        ("LOGNAME", account.name.clone()),
        ("SHELL", "/bin/bash".to_owned()),
        ("PATH", path.to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
    ]
}

fn quoted(argv: &[&str]) -> String {
    argv.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect::<Vec<_>>().join(" ")
}

fn wait(child: &mut Child, deadline: Instant) -> Result<Option<ExitStatus>> {
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for the command")? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// The exit code as a shell would give it.
fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// A round of waiting for output. Rounds count, not time: a machine that stalls while data are on the way loses one.
const ROUND: Duration = Duration::from_millis(20);
/// After so many in vain, whoever still holds a pipe open is not waited for.
const ROUNDS_IN_VAIN: u32 = 25;

/// What came through the pipe of that number.
type Piece = (usize, Vec<u8>);

/// The pipes to a command, each served by a thread.
struct Streams {
    /// Standard output is 0, standard error 1.
    outputs: Receiver<Piece>,
    /// Dropped with the streams: a terminal's input stays open until then.
    _open: Sender<()>,
}

impl Streams {
    fn of(child: &mut Child, account: &Account, input: Vec<u8>, stays_open: bool) -> Result<Self> {
        let stdout = child.stdout.take().context("no standard output")?;
        let stderr = child.stderr.take().context("no standard error")?;
        // The pipes belong to the user: programs that open /dev/stdout by name may do so, as on a terminal.
        fchown(&stdout, Some(account.uid), Some(account.gid))?;
        fchown(&stderr, Some(account.uid), Some(account.gid))?;
        let (open, end) = mpsc::channel();
        if let Some(mut stdin) = child.stdin.take() {
            fchown(&stdin, Some(account.uid), Some(account.gid))?;
            thread::spawn(move || {
                let _reader_is_gone = stdin.write_all(&input);
                // script(1) turns an end of its input into a NUL that the terminal echoes.
                if stays_open {
                    let _ended = end.recv();
                }
            });
        }
        let (sender, outputs) = mpsc::channel();
        receive(stdout, 0, sender.clone());
        receive(stderr, 1, sender);
        Ok(Self { outputs, _open: open })
    }

    fn output(self, status: Option<ExitStatus>, elapsed: Duration) -> Output {
        let [raw_stdout, stderr] = collect(&self.outputs);
        Output {
            code: status.map_or(-1, exit_code),
            stdout: String::from_utf8_lossy(&raw_stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            raw_stdout,
            elapsed,
        }
    }
}

fn receive(mut stream: impl Read + Send + 'static, number: usize, sender: Sender<Piece>) {
    thread::spawn(move || {
        let mut buffer = vec![0; 65536];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            if sender.send((number, buffer[..length].to_vec())).is_err() {
                break;
            }
        }
    });
}

/// What comes through both pipes until they are closed, or enough rounds were in vain.
fn collect(outputs: &Receiver<Piece>) -> [Vec<u8>; 2] {
    let (mut said, mut in_vain) = ([Vec::new(), Vec::new()], 0);
    while in_vain < ROUNDS_IN_VAIN {
        match outputs.recv_timeout(ROUND) {
            Ok((number, bytes)) => said[number].extend(bytes),
            Err(RecvTimeoutError::Timeout) => in_vain += 1,
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quoted(&["a b", "it's"]), r"'a b' 'it'\''s'");
    }
}
