//! The side of who starts a server and what becomes the engine, and is there when both are gone.

use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::SERVE;
use super::channel::Channel;
use super::message::{Entry, FromEntry, FromServer, Image, Stack, ToEntry, ToServer};
use crate::namespace::Cannot;
use crate::namespace::user::Users;

/// The server reads the end of its mount at once. It is not waited for any longer where it is stopped or busy, or the command has left
/// processes behind.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a killed writer has left in an image is put in order before its mount is served, and disks are slow.
const OPENING: Duration = Duration::from_secs(600);

/// How long is waited for a server's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// What it has is only read.
    Short,
    /// What it has written must reach the disk, however slow that is.
    UntilWritten,
}

/// A server that this process has started. It is killed when this is dropped.
#[derive(Debug)]
pub struct Server {
    process: Child,
    channel: Channel,
    /// What it has said so far.
    said: Mutex<Vec<String>>,
    is_left: bool,
}

/// What is known of a server that has ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ServerEnd {
    /// The lines to say: what was wrong with the images, and with its end.
    pub lines: Vec<String>,
    /// Whether it has ended by itself, and otherwise than it should: what was written may be missing.
    pub has_failed: bool,
}

impl Server {
    /// Starts `program` as a server of these images, lowest first. What is written to a disk is kept in a nameless
    /// file in the directory `scratch`. Errors of the images come with [`Entrance::lead`].
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn start<'a>(
        program: &Path,
        images: impl IntoIterator<Item = (Image, BorrowedFd<'a>)>,
        stack: &Stack,
        scratch: Option<BorrowedFd<'_>>,
    ) -> Result<Self, Cannot> {
        let (channel, theirs) = Channel::pair().map_err(failed("a socket pair"))?;
        let mut command = Command::new(program);
        command.arg(SERVE).env_clear().current_dir("/");
        command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().map_err(failed("the server cannot be started"))?;
        // The command holds the child's end of the socket.
        drop(command);
        let server = Self { process, channel, said: Mutex::default(), is_left: false };
        for (image, file) in images {
            server.send(&ToServer::Image(image), &[file])?;
        }
        server.send(&ToServer::Serve(stack.clone()), scratch.as_slice())?;
        Ok(server)
    }

    /// The number of its process.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.process.id()
    }

    /// Gives it the mount, and waits until it answers the kernel, or `engine` is gone whom this is for.
    fn serve(&self, mount: &[OwnedFd], engine: &Channel) -> Result<(), Cannot> {
        let mount: Vec<_> = mount.iter().map(AsFd::as_fd).collect();
        self.send(&ToServer::Mount, &mount)?;
        let deadline = Instant::now() + OPENING;
        loop {
            if !self.answers(deadline, engine) {
                return Err(Cannot("the server does not answer".into()));
            }
            match self.channel.receive().map_err(failed("the server does not answer"))? {
                Some((FromServer::Ready, _)) => return Ok(()),
                Some((FromServer::Says(line), _)) => lock(&self.said).push(line),
                Some((FromServer::Failed(why), _)) => return Err(Cannot(why)),
                None => return Err(Cannot("the server has ended".into())),
            }
        }
    }

    /// Why something cannot be done with its mount: what the kernel has told, and what it has said itself by then.
    fn explained(&self, why: String) -> Cannot {
        self.listen(Some(Instant::now()));
        let said = lock(&self.said);
        Cannot(std::iter::once(why).chain(said.iter().cloned()).collect::<Vec<_>>().join(": "))
    }

    /// What it has said is more than that it is gone.
    fn send(&self, message: &ToServer, descriptors: &[BorrowedFd<'_>]) -> Result<(), Cannot> {
        self.channel.send(message, descriptors).map_err(|error| match self.channel.receive() {
            Ok(Some((FromServer::Failed(why), _))) => Cannot(why),
            _ => Cannot::because("the server has ended", error),
        })
    }

    /// Waits so long at most until it ends by itself, because nobody is left in its mount's namespace.
    #[must_use]
    pub fn ends_within(&self, patience: Duration) -> bool {
        self.listen(Some(Instant::now() + patience))
    }

    /// Tells it to make what was written last, and to end whoever is left: they lose their file system then.
    pub fn ask_to_end(&self) {
        // Where it is gone already, it needs no word.
        let _ = self.channel.send(&ToServer::End, &[]);
    }

    /// Waits until it has ended by itself, and kills it where it does not: what the command has left behind loses its file system then.
    #[must_use]
    pub fn end(mut self, patience: Patience) -> ServerEnd {
        let has_ended = self.listen(match patience {
            Patience::Short => Some(Instant::now() + PATIENCE),
            Patience::UntilWritten => None,
        });
        let status = has_ended.then(|| self.process.wait().ok()).flatten();
        let mut lines = mem::take(&mut *lock(&self.said));
        if let Some(status) = status.filter(|status| status.code().is_none()) {
            lines.push(format!("the process that served the layers has ended: {status}"));
        }
        ServerEnd { lines, has_failed: status.is_some_and(|status| !status.success()) }
    }

    /// Keeps what it says, until it has ended or it is too late. Whether it has ended.
    fn listen(&self, until: Option<Instant>) -> bool {
        while self.has_news(until) {
            match self.channel.receive::<FromServer>() {
                Ok(Some((FromServer::Failed(line) | FromServer::Says(line), _))) => lock(&self.said).push(line),
                Ok(Some((FromServer::Ready, _))) => {}
                Ok(None) | Err(_) => return true,
            }
        }
        false
    }

    /// Kills it: whoever waits for a file of its gets an error. It is known to [`Server::end`] only that it is gone.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
    }

    /// Kills it, and does not wait until it is gone: a disk that does not answer may keep it for ever, and it keeps its locks so long.
    pub fn leave(mut self) {
        self.is_left = true;
    }

    /// Whether it has something to say, or has ended, before it is too late and before `engine` is gone.
    fn answers(&self, deadline: Instant, engine: &Channel) -> bool {
        loop {
            let within = PollTimeout::try_from(deadline.saturating_duration_since(Instant::now()));
            let news = PollFlags::POLLIN;
            let mut both = [PollFd::new(self.channel.as_fd(), news), PollFd::new(engine.as_fd(), PollFlags::empty())];
            match poll(&mut both, within.unwrap_or(PollTimeout::MAX)) {
                Err(Errno::EINTR) => {}
                _ => return both.first().is_some_and(|server| server.any() == Some(true)),
            }
        }
    }

    fn has_news(&self, until: Option<Instant>) -> bool {
        loop {
            let within = until.map(|until| until.saturating_duration_since(Instant::now()));
            let timeout =
                within.map_or(PollTimeout::NONE, |within| PollTimeout::try_from(within).unwrap_or(PollTimeout::MAX));
            match poll(&mut [PollFd::new(self.channel.as_fd(), PollFlags::POLLIN)], timeout) {
                Err(Errno::EINTR) => {}
                // Where it cannot be waited for, reading tells.
                ready => return ready.is_ok_and(|ready| ready > 0) || ready.is_err(),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        if !self.is_left {
            let _ = self.process.wait();
        }
    }
}

/// Why nobody was led in.
#[derive(Debug, thiserror::Error)]
pub enum LeadError {
    /// The stack cannot be mounted.
    #[error(transparent)]
    Mounts(#[from] Cannot),
    /// The engine cannot be executed; the system's reason.
    #[error("{0}")]
    Engine(String),
}

/// The socket of what becomes the engine.
#[derive(Debug)]
pub struct Entrance(Channel);

impl Entrance {
    /// Ours, and what it gets as its standard input.
    ///
    /// # Errors
    /// The system has no descriptors left.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        Channel::pair().map(|(ours, theirs)| (Self(ours), theirs))
    }

    /// Leads the process `pid` in and waits until it is the engine, whose standard input is `stdin`.
    ///
    /// # Errors
    /// What could not be done, by it or by the server. It has ended then, or will.
    pub fn lead(self, pid: u32, entry: &Entry, stdin: BorrowedFd<'_>, server: &Server) -> Result<(), LeadError> {
        self.send(&ToEntry::Enter(entry.clone()), &[stdin])?;
        loop {
            match self.0.receive().map_err(failed("the process that starts the engine does not answer"))? {
                Some((FromEntry::InNamespace, _)) => {
                    map(&entry.users, pid)?;
                    self.send(&ToEntry::Mapped, &[])?;
                }
                Some((FromEntry::Mounted, mount)) => {
                    server.serve(&mount, &self.0)?;
                    self.send(&ToEntry::Ready, &[])?;
                }
                Some((FromEntry::Failed(why), _)) => return Err(server.explained(why).into()),
                Some((FromEntry::NoEngine(why), _)) => return Err(LeadError::Engine(why)),
                // It is the engine now, or has ended: whoever waits for the engine learns that.
                None => return Ok(()),
            }
        }
    }

    fn send(&self, message: &ToEntry, descriptors: &[BorrowedFd<'_>]) -> Result<(), Cannot> {
        match self.0.send(message, descriptors) {
            // A signal has ended it, which the engine's parent finds.
            Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => Ok(()),
            sent => sent.map_err(failed("the process that starts the engine")),
        }
    }
}

/// No thread panics while it holds one.
fn lock(said: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    said.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Only these programs may map subordinate ids.
fn map(users: &Users, pid: u32) -> Result<(), Cannot> {
    let Some(ranges) = users.ranges(pid) else { return Ok(()) };
    for (program, words) in ["newuidmap", "newgidmap"].iter().zip(ranges) {
        let output = Command::new(program).args(words).stdin(Stdio::null()).output().map_err(failed(program))?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            return Err(Cannot(format!("{program}: {}", why.trim().lines().next().unwrap_or("failed"))));
        }
    }
    Ok(())
}

fn failed(what: &str) -> impl FnOnce(io::Error) -> Cannot {
    move |error| Cannot::because(what, error)
}
