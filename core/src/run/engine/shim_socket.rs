//! The socket between this process and the shim in the container.
//!
//! The kernel attaches the sender's process id, translated into our namespace: that is the command's own process, which signals
//! can then be sent to without a detour through the engine.

use std::cell::Cell;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg, sendmsg, setsockopt, sockopt,
};
use nix::unistd::Pid;

use crate::run::error::{RunError, system};
use crate::run::zsh_startup;

/// Our end of the socket.
#[derive(Debug)]
pub(crate) struct ShimSocket {
    socket: UnixStream,
    /// The shim has not found the directory for temporary files.
    lacks_tmpdir: Cell<bool>,
}

/// What has come from the shim so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// Nothing: the container never stood.
    Silent,
    /// The shim runs as this process.
    Started(Pid),
    /// The command's working directory cannot be entered, with this errno.
    Nowhere(i32),
    /// The exec failed with this errno.
    Failed(i32),
}

impl ShimSocket {
    /// Our end, and the shim's end, which stays open across exec.
    pub(crate) fn pair() -> Result<(Self, OwnedFd), RunError> {
        let broken = |e: Errno| system("cannot make a socket pair")(e.into());
        let (ours, theirs) = UnixStream::pair().map_err(system("cannot make a socket pair"))?;
        setsockopt(&ours, sockopt::PassCred, &true).map_err(broken)?;
        fcntl(&theirs, FcntlArg::F_SETFD(FdFlag::empty())).map_err(broken)?;
        Ok((Self { socket: ours, lacks_tmpdir: Cell::new(false) }, theirs.into()))
    }

    /// Tells the shim to become the command, and gives it the directory that a zsh is to read.
    pub(crate) fn let_go(&mut self) -> Result<(), RunError> {
        let directory = zsh_startup::directory();
        let descriptors = directory.as_ref().map(|directory| [directory.as_raw_fd()]);
        let with = descriptors.as_ref().map(|numbers| ControlMessage::ScmRights(numbers));
        let socket = self.socket.as_raw_fd();
        let sent = sendmsg::<()>(socket, &[IoSlice::new(b"G")], with.as_slice(), MsgFlags::MSG_NOSIGNAL, None);
        let over = system("the container ended before the command was started");
        sent.map(drop).map_err(|errno| over(errno.into()))
    }

    /// Tells the shim that its command is not wanted any more.
    pub(crate) fn hang_up(&self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }

    /// What the shim has said, without waiting.
    pub(crate) fn read(&self) -> Report {
        let mut bytes = [0; 16];
        let mut space = nix::cmsg_space!(UnixCredentials);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let Ok(message) = recvmsg::<()>(self.socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_DONTWAIT)
        else {
            return Report::Silent;
        };
        let sender = message.cmsgs().ok().and_then(|mut all| all.find_map(process));
        let length = message.bytes;
        if &bytes[..length] == b"ST" {
            self.lacks_tmpdir.set(true);
        }
        interpret(&bytes[..length], sender)
    }

    /// Whether the container lacks the directory for temporary files, as far as the shim has said.
    pub(crate) fn lacks_tmpdir(&self) -> bool {
        self.lacks_tmpdir.get()
    }
}

impl AsFd for ShimSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn process(message: ControlMessageOwned) -> Option<Pid> {
    match message {
        ControlMessageOwned::ScmCredentials(sender) => Some(Pid::from_raw(sender.pid())),
        _ => None,
    }
}

fn interpret(bytes: &[u8], sender: Option<Pid>) -> Report {
    match (bytes.split_first(), sender) {
        (Some((b'S', _)), Some(pid)) => Report::Started(pid),
        (Some((b'D', errno)), _) => Report::Nowhere(number(errno)),
        (Some((b'E', errno)), _) => Report::Failed(number(errno)),
        _ => Report::Silent,
    }
}

fn number(text: &[u8]) -> i32 {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}
