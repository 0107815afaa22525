//! Apptainer at work: a process group with a guard in it, so that whatever happens to us nothing of it stays behind.
//!
//! A build is many processes, and some of them (in a root-mapped namespace) do not hear of the end of the first. So a signal
//! goes to the group. The guard is a shell that leads the group and reads from a pipe of ours: it sees the end of file when we
//! are gone, killed by SIGKILL too, and ends the group in our stead.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::{News, Watch};

/// Deaf to what it sends itself. `read` ends when we do.
const GUARD: &str = "trap '' TERM INT HUP; read -r _; kill -TERM 0; sleep 10; kill -KILL 0";
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
    guard: Child,
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    pub(super) fn start(mut command: Command) -> io::Result<Self> {
        let guard = Command::new("/bin/sh").args(["-c", GUARD]).process_group(0).stdin(Stdio::piped()).spawn()?;
        let mut guard = Group(Some(guard));
        let (reader, writer) = io::pipe()?;
        command.process_group(guard.id()).stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let child = command.spawn()?;
        // With the command our ends of the pipe are closed, so that the last writer's end is the end of the text.
        drop(command);
        let (sender, lines) = channel();
        std::thread::Builder::new().name("apptainer".into()).spawn(move || read_lines(reader, &sender))?;
        let guard = guard.0.take().ok_or_else(|| io::Error::other("no guard"))?;
        Ok(Self { guard, child, lines })
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
            if news.is_err()
                && let Some(status) = self.child.try_wait()?
            {
                self.hear_the_rest(hear, watch);
                return Ok(End::Exited(status));
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
        while Instant::now() < until && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(INTERVAL);
        }
    }

    fn signal(&self, signal: Signal) {
        signal_group(&self.guard, signal);
    }
}

/// Whatever is left of the group ends here; the guard leads it and is not waited for before, so the number is still its own.
impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        let _ = self.child.wait();
        let _ = self.guard.wait();
    }
}

/// The group before Apptainer is in it.
struct Group(Option<Child>);

impl Group {
    fn id(&self) -> i32 {
        self.0.as_ref().map_or(0, number)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(mut guard) = self.0.take() {
            let _ = guard.kill();
            let _ = guard.wait();
        }
    }
}

fn number(child: &Child) -> i32 {
    i32::try_from(child.id()).unwrap_or(0)
}

fn signal_group(leader: &Child, signal: Signal) {
    // 0 would be our own group.
    if let group @ 1.. = number(leader) {
        let _ = killpg(Pid::from_raw(group), signal);
    }
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
        Running::start(command).unwrap()
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
