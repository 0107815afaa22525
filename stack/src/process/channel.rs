//! A socket that carries messages with descriptors, between a process and the child that has the other end at its standard input.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Of a message, in bytes.
const LONGEST: usize = 128 << 10;
/// Of descriptors with a message.
const MOST: usize = 4;
/// Whoever does not answer for so long will not.
const PATIENCE: Duration = Duration::from_secs(30);

/// One end.
#[derive(Debug)]
pub(super) struct Channel(OwnedFd);

impl Channel {
    /// Ours, which waits for an answer with patience but not for ever, and the child's.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        for timeout in [Timeout::Recv, Timeout::Send] {
            set_socket_timeout(&ours, timeout, Some(PATIENCE))?;
        }
        Ok((Self(ours), theirs))
    }

    /// The one at this process's standard input, as a descriptor that no program inherits.
    pub(super) fn at_stdin() -> io::Result<Self> {
        Ok(Self(fcntl_dupfd_cloexec(io::stdin(), 3)?))
    }

    pub(super) fn send(&self, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send_by(message, descriptors, SendFlags::NOSIGNAL)
    }

    /// Without waiting: where too much is on the way, this is lost.
    pub(super) fn send_now(&self, message: &impl Serialize) -> io::Result<()> {
        self.send_by(message, &[], SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
    }

    fn send_by(&self, message: &impl Serialize, descriptors: &[BorrowedFd<'_>], flags: SendFlags) -> io::Result<()> {
        let text = serde_json::to_vec(message)?;
        if text.len() > LONGEST {
            return Err(io::Error::other("too many or too long paths"));
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
        let mut with = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !with.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        sendmsg(&self.0, &[IoSlice::new(&text)], &mut with, flags)?;
        Ok(())
    }

    /// The next message, or `None` when the other end is gone.
    pub(super) fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let mut text = vec![0; LONGEST];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
        let mut with = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            match recvmsg(&self.0, &mut [IoSliceMut::new(&mut text)], &mut with, RecvFlags::CMSG_CLOEXEC) {
                // The second is told once, where the other end is gone and has not read everything: what it has said comes after.
                Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNRESET) => {}
                received => break received?,
            }
        };
        let descriptors = with.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        let descriptors = descriptors.flatten().collect();
        match text.get(..received.bytes) {
            Some(text) if !text.is_empty() => Ok(Some((serde_json::from_slice(text)?, descriptors))),
            _ => Ok(None),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;

    #[test]
    fn messages_come_whole_and_with_their_descriptors() {
        let (ours, theirs) = Channel::pair().unwrap();
        let theirs = Channel(theirs);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "x").unwrap();
        ours.send(&"a", &[file.as_file().as_fd()]).unwrap();
        ours.send(&"b", &[]).unwrap();
        let (text, mut descriptors) = theirs.receive::<String>().unwrap().unwrap();
        let mut content = String::new();
        File::from(descriptors.pop().unwrap()).read_to_string(&mut content).unwrap();
        assert_eq!((text.as_str(), content.as_str()), ("a", "x"));
        assert_eq!(theirs.receive::<String>().unwrap().unwrap().0, "b");
        ours.send(&"d", &[]).unwrap();
        theirs.send(&"never read", &[]).unwrap();
        drop(ours);
        assert_eq!(theirs.receive::<String>().unwrap().unwrap().0, "d");
        assert!(theirs.receive::<String>().unwrap().is_none());
        assert!(theirs.send(&"c", &[]).is_err());
    }
}
