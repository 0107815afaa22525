//! How the tasks of a step reach the keeper of their container, and how the keeper learns of the step's end.
//!
//! Two connected sockets: slurmstepd and its tasks share one, the keeper has the other. A task sends an end of a pair of its own, over
//! which it is answered. When slurmstepd is done, or gone, the keeper reads the end of file. No name in a file system or elsewhere
//! leads to the keeper, so nobody else reaches it and nothing is left behind.

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use nix::unistd::close;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde::{Deserialize, Serialize};

use condatainer_images::system::process::Process;

/// An answer that is longer is not one of ours.
const MAX_ANSWER: u64 = 1 << 20;

/// Who has not been answered after so long wants to know why.
const LONG: Duration = Duration::from_secs(3);

/// What a task is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The container stands; with it come the directories in /proc of its first process and of the keeper.
    Join {
        /// What was said meanwhile, for the user.
        words: String,
    },
    /// Tasks cannot share a container here: each starts its own.
    Own {
        /// Why.
        why: String,
    },
    /// It was not started.
    Refused {
        /// What was said meanwhile, for the user.
        words: String,
        /// The reason.
        why: String,
    },
}

/// Asks for the step's container, and waits until it stands; `late` is called where that takes long. `channel` is closed then: no command
/// inherits it.
///
/// # Errors
/// There is nobody to answer.
pub fn ask(channel: RawFd, late: impl FnOnce()) -> io::Result<(Answer, Vec<OwnedFd>)> {
    let (mut ours, theirs) = UnixStream::pair()?;
    send(channel, view().as_bytes(), &[theirs.as_fd()])?;
    close(channel)?;
    drop(theirs);
    if !is_answered_within(ours.as_fd(), LONG) {
        late();
    }
    let (mut text, descriptors) = receive(ours.as_fd(), RecvFlags::empty())?;
    (&mut ours).take(MAX_ANSWER).read_to_end(&mut text)?;
    if text.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((serde_json::from_slice(&text)?, descriptors))
}

/// What this process sees of the machine, as a text to compare: only who sees the same can share a container.
pub(crate) fn view() -> String {
    let name = |kind| Process::this().namespace_name(kind).unwrap_or_default().display().to_string();
    ["user", "mnt"].map(name).join(" ")
}

/// What comes in at the keeper's end.
#[derive(Debug)]
pub(crate) enum Call {
    /// A task asks, and is answered there; what it sees.
    Task(UnixStream, String),
    /// The step is over.
    End,
    /// Nothing at the moment.
    Nothing,
}

fn is_answered_within(ours: BorrowedFd<'_>, time: Duration) -> bool {
    let mut answer = [PollFd::from_borrowed_fd(ours, PollFlags::IN)];
    poll(&mut answer, Timespec::try_from(time).ok().as_ref()).map_or(true, |ready| ready > 0)
}

/// Waits so long, and tells whether the step is over by then. Who asks meanwhile is answered later.
#[must_use]
pub fn is_over_within(channel: BorrowedFd<'_>, time: Duration) -> bool {
    let mut end = [PollFd::from_borrowed_fd(channel, PollFlags::RDHUP)];
    let time = Timespec::try_from(time).ok();
    poll(&mut end, time.as_ref()).is_ok_and(|ready| ready > 0)
}

/// The next call, without waiting.
pub(crate) fn next_call(channel: BorrowedFd<'_>) -> Call {
    match receive(channel, RecvFlags::DONTWAIT) {
        Ok((text, _)) if text.is_empty() => Call::End,
        Ok((text, mut descriptors)) => descriptors
            .pop()
            .map_or(Call::Nothing, |task| Call::Task(task.into(), String::from_utf8_lossy(&text).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Call::Nothing,
        Err(_) => Call::End,
    }
}

/// Answers; a task that is gone meanwhile is no error.
pub(crate) fn answer(task: &UnixStream, answer: &Answer, descriptors: &[BorrowedFd<'_>]) {
    if let Ok(text) = serde_json::to_vec(answer) {
        let _ = send(task.as_raw_fd(), &text, descriptors);
    }
}

fn send(socket: RawFd, text: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let numbers: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = if numbers.is_empty() { Vec::new() } else { vec![ControlMessage::ScmRights(&numbers)] };
    loop {
        match sendmsg::<UnixAddr>(socket, &[IoSlice::new(text)], &rights, MsgFlags::MSG_NOSIGNAL, None) {
            Err(Errno::EINTR) => {}
            other => return other.map(|_| ()).map_err(io::Error::from),
        }
    }
}

/// One message and the descriptors that came with it, close-on-exec; no text at the end of file.
pub(crate) fn receive(socket: BorrowedFd<'_>, flags: RecvFlags) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut text = vec![0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let length = loop {
        match recvmsg(socket, &mut [IoSliceMut::new(&mut text)], &mut control, flags) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?.bytes,
        }
    };
    text.truncate(length);
    let rights = |message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    };
    Ok((text, control.drain().filter_map(rights).flatten().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    use std::os::fd::IntoRawFd;
    use std::time::{Duration, Instant};

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap()
    }

    #[test]
    fn tasks_are_answered_each_on_its_own() {
        let (tasks, keeper) = pair();
        let asking: Vec<_> = (0..16)
            .map(|_| {
                let end = tasks.try_clone().unwrap().into_raw_fd();
                std::thread::spawn(move || ask(end, || ()).unwrap())
            })
            .collect();
        let mut told = 0;
        while told < asking.len() {
            if let Call::Task(task, seen) = next_call(keeper.as_fd()) {
                assert_eq!(seen, view());
                answer(&task, &Answer::Own { why: told.to_string() }, &[keeper.as_fd()]);
                told += 1;
            }
        }
        let mut heard: Vec<String> = asking
            .into_iter()
            .map(|task| match task.join().unwrap() {
                (Answer::Own { why }, descriptors) if descriptors.len() == 1 => why,
                other => panic!("{other:?}"),
            })
            .collect();
        heard.sort_by_key(|number| number.parse::<u32>().unwrap());
        assert_eq!(heard, (0..16).map(|number| number.to_string()).collect::<Vec<_>>());
        drop(tasks);
        // A process that another test is just starting has a copy of it until its exec.
        let deadline = Instant::now() + Duration::from_secs(60);
        while !matches!(next_call(keeper.as_fd()), Call::End) {
            assert!(Instant::now() < deadline, "the end is not seen");
        }
    }

    #[test]
    fn nobody_answers() {
        let (tasks, keeper) = pair();
        let asking = std::thread::spawn(move || ask(tasks.into_raw_fd(), || ()));
        while !matches!(next_call(keeper.as_fd()), Call::Task(..)) {}
        drop(keeper);
        assert_eq!(asking.join().unwrap().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
