//! A tool at work: a session with a guard in it, so that whatever happens to us nothing of it stays behind.
//!
//! A build is many processes, and some of them (in a root-mapped namespace) do not hear of the end of the first. So a signal
//! goes to the group. The guard is a shell in it that reads from a pipe of ours: it sees the end of file when we are gone, killed
//! by SIGKILL too, and ends the group in our stead. The session is one of its own, without a terminal: in the user's it would be
//! in the background, and stop for ever where something wants to ask at `/dev/tty`.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{AccessFlags, Pid, access};

use super::progress::{News, Watch};
use condatainer_images::tools::programs;

/// Begins the guard and becomes the command. The guard is deaf to what it sends itself, and has nothing of the command's open.
const START: &str = r#"exec 3<&0 < /dev/null
(trap '' TERM INT HUP; exec > /dev/null 2>&1; read -r _ <&3; kill -TERM 0; sleep 10; kill -KILL 0) &
exec 3<&-
exec "$@""#;
/// How often somebody is asked whether to go on.
const INTERVAL: Duration = Duration::from_millis(50);
/// What Apptainer gets to tidy up in.
const GRACE: Duration = Duration::from_secs(10);
/// What is waited for a last word.
const LAST_WORD: Duration = Duration::from_millis(300);
/// A longer line is cut, in bytes.
const LONGEST: usize = 4096;

/// How it ended.
#[derive(Debug)]
pub(super) enum End {
    /// By itself.
    Exited(ExitStatus),
    /// Because it was told to.
    Stopped,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Running {
    /// Leads session and group.
    child: Child,
    /// Its status was taken: the number may be another's by now.
    is_over: bool,
    lines: Receiver<String>,
}

impl Running {
    /// Starts the command in a session of its own.
    pub(super) fn start(command: &Command) -> io::Result<Self> {
        let mut command = in_a_session(command)?;
        let (reader, writer) = io::pipe()?;
        command.stdin(Stdio::piped()).stdout(writer.try_clone()?).stderr(writer);
        let child = command.spawn()?;
        // With the command our ends of the pipe are closed, so that the last writer's end is the end of the text.
        drop(command);
        let (sender, lines) = channel();
        let running = Self { child, is_over: false, lines };
        std::thread::Builder::new().name("apptainer".into()).spawn(move || read_lines(reader, &sender))?;
        Ok(running)
    }

    /// Waits for the end; every line is told and kept by `hear`.
    pub(super) fn wait(mut self, hear: &mut dyn FnMut(&str), watch: Watch<'_>) -> io::Result<End> {
        loop {
            let news = self.lines.recv_timeout(INTERVAL);
            let wish = match &news {
                Ok(line) => {
                    hear(line);
                    watch(News::Line(line))
                }
                Err(_) => watch(News::Nothing),
            };
            if wish.is_break() {
                self.stop();
                return Ok(End::Stopped);
            }
            if news.is_err() && self.has_ended() {
                self.hear_the_rest(hear, watch);
                return self.end().map(End::Exited);
            }
            if news == Err(RecvTimeoutError::Disconnected) {
                std::thread::sleep(INTERVAL);
            }
        }
    }

    /// A process in the background may keep the pipe open.
    fn hear_the_rest(&self, hear: &mut dyn FnMut(&str), watch: Watch<'_>) {
        let until = Instant::now() + LAST_WORD;
        while let Ok(line) = self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            hear(&line);
            let _: ControlFlow<()> = watch(News::Line(&line));
        }
    }

    fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        let until = Instant::now() + GRACE;
        while Instant::now() < until && !self.has_ended() {
            std::thread::sleep(INTERVAL);
        }
    }

    /// Its status is left where it is, and with it the number.
    fn has_ended(&self) -> bool {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        !matches!(waitid(Id::Pid(self.number()), flags), Ok(WaitStatus::StillAlive))
    }

    /// Whatever is left of the group ends here.
    fn end(&mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::SIGKILL);
        self.is_over = true;
        self.child.wait()
    }

    fn signal(&self, signal: Signal) {
        // In its first instant it has no group yet. 0 would be our own.
        if !self.is_over && self.number().as_raw() > 0 && killpg(self.number(), signal).is_err() {
            let _ = kill(self.number(), signal);
        }
    }

    fn number(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(0))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// The same command, with the guard, as the leader of a session.
fn in_a_session(command: &Command) -> io::Result<Command> {
    // The shell would say it too, but only as a line among others.
    access(command.get_program(), AccessFlags::X_OK)?;
    let missing = || io::Error::new(io::ErrorKind::NotFound, "setsid was not found; install the package util-linux");
    let mut session = Command::new(programs::find("setsid").ok_or_else(missing)?);
    session.args(["/bin/sh", "-c", START, "sh"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => session.env(name, value),
            None => session.env_remove(name),
        };
    }
    Ok(session)
}

/// Progress bars of tools that Apptainer calls go back to the start of their line: each state is a line.
fn read_lines(mut from: impl Read, lines: &Sender<String>) {
    let (mut piece, mut line) = ([0; 4096], Vec::new());
    while let Ok(length @ 1..) = from.read(&mut piece) {
        for &byte in piece.get(..length).unwrap_or_default() {
            match byte {
                b'\n' | b'\r' if !say(&mut line, lines) => return,
                b'\n' | b'\r' => {}
                _ if line.len() < LONGEST => line.push(byte),
                _ => {}
            }
        }
    }
    say(&mut line, lines);
}

/// False when nobody listens any more.
fn say(line: &mut Vec<u8>, lines: &Sender<String>) -> bool {
    let text = String::from_utf8_lossy(line).trim_end().to_owned();
    line.clear();
    text.is_empty() || lines.send(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(text: &str) -> Running {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", text]);
        Running::start(&command).unwrap()
    }

    #[test]
    fn lines_and_status() {
        let mut heard = Vec::new();
        let end = shell("echo one; printf 'a\\rb\\n' >&2; printf last; exit 3")
            .wait(&mut |line| heard.push(line.to_owned()), &mut |_| ControlFlow::Continue(()))
            .unwrap();
        assert_eq!(heard, ["one", "a", "b", "last"]);
        assert!(matches!(end, End::Exited(status) if status.code() == Some(3)));
    }

    #[test]
    fn it_has_a_session_of_its_own_without_our_pipe() {
        let mut heard = Vec::new();
        let text = "read -r pid name state parent group session terminal rest < /proc/$$/stat
            echo $$; echo $session $group $terminal; [ -e /proc/$$/fd/3 ] || echo closed";
        shell(text).wait(&mut |line| heard.push(line.to_owned()), &mut |_| ControlFlow::Continue(())).unwrap();
        let pid = heard.first().cloned().unwrap_or_default();
        assert_eq!(heard, [pid.clone(), format!("{pid} {pid} 0"), "closed".into()]);
    }

    #[test]
    fn what_cannot_be_started_is_told_at_once() {
        let error = Running::start(&Command::new("/nowhere/apptainer")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn nothing_of_the_group_stays() {
        let alive = |pid: &str| std::path::Path::new("/proc").join(pid).exists();
        let mut pid = String::new();
        let running = shell("(trap '' TERM; sleep 100) & echo $!; exec sleep 100");
        let end = running
            .wait(&mut |line| pid = line.into(), &mut |news| match news {
                News::Line(_) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            })
            .unwrap();
        assert!(matches!(end, End::Stopped));
        let until = Instant::now() + Duration::from_secs(5);
        while alive(&pid) && Instant::now() < until {
            std::thread::sleep(INTERVAL);
        }
        assert!(!pid.is_empty() && !alive(&pid), "{pid}");
    }
}
