//! What answers, and where and how its threads wait.

use std::io;
use std::os::fd::OwnedFd;

use fuser::{INodeNo, Request};

use super::super::requests::Requests;
use super::super::{asker, privilege};
use super::waiting::{Taken, Waiting};
use crate::processors::Processors;

/// [`Requests`], as fuser calls them.
pub(crate) struct Kernel {
    pub(super) requests: Requests,
    /// Whether lists of access rights are obeyed.
    pub(super) acls: bool,
    /// Whether each opening of a directory is answered: to Linux before 5.1 an `ENOSYS` is a failure there, as any other.
    pub(super) opens_directories: bool,
    /// Where the threads that answer run.
    processors: Processors,
    /// How they wait.
    waiting: Waiting,
}

impl Kernel {
    /// For so many threads, which are made later. `device` is one of the descriptors that they read.
    pub(crate) fn new(requests: Requests, acls: bool, device: &OwnedFd, threads: usize) -> io::Result<Self> {
        let processors = Processors::new();
        let device = processors.have_a_choice().then(|| device.try_clone()).transpose()?;
        let opens_directories = requests.any_may_change();
        Ok(Self { requests, acls, opens_directories, processors, waiting: Waiting::new(device, threads) })
    }

    /// A thread has read a request, and answers it until what this returns is dropped.
    pub(super) fn taken(&self, request: &Request) -> Option<Taken<'_>> {
        asker::set(request.pid());
        self.waiting.taken(request.pid())
    }

    /// The same for a FORGET.
    pub(super) fn forgets(&self) -> Option<Taken<'_>> {
        self.waiting.forgets()
    }

    /// See [`Processors::reads`].
    pub(super) fn reads(&self, file: u64, offset: u64, size: u32) {
        self.processors.reads(file, offset, size);
    }

    /// What comes to an answer; that it is given is not part of it, since then the next request may be there before the call has returned.
    pub(super) fn asked<T>(&self, request: &Request, answer: impl FnOnce(&Requests) -> T) -> T {
        let turn = self.processors.turn(request.pid(), self.waiting.is_alone());
        if turn.is_crowded() {
            self.waiting.several();
        }
        answer(&self.requests)
    }

    /// Whether who writes to a file takes its set-user-ID and set-group-ID away. Where an overlay is above, the kernel asks for it in the name of who
    /// has mounted that, and not of who writes.
    pub(super) fn strips(&self, request: &Request, node: INodeNo) -> bool {
        self.requests.has_set_ids(node.0) && !privilege::keeps_set_ids(request.pid())
    }
}
