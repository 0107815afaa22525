//! Keeps a container for the tasks of a Slurm step: starts it without a command, answers the tasks, and ends it with the step.
//!
//! The engine is the keeper's child and not a task's, so whatever ends the tasks leaves it and its FUSE daemons alone, and they
//! unmount and sync in their own time.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{dup2_stderr, ftruncate};

use crate::join::{OTHER_VIEW, why_not_shared};
use crate::plan::Plan;
use crate::run::container::{Container, Options, Outcome};
use crate::run::engine::child::Streams;
use crate::run::engine::leftovers::Leftovers;
use crate::run::engine::shim_socket::Report;
use crate::run::error::{RunError, system};
use crate::run::mounted_stack::{LOOK, MountedStack};
use crate::step::channel::{Answer, Call, answer, next_call, view};
use crate::step::relay::server::Relays;
use condatainer_images::system::process::Process;
use condatainer_images::tools::memfd;

/// What is more is lost: nobody reads it before the end, and it must not keep a FUSE daemon waiting.
const MOST_WORDS: u16 = 16 << 10;

/// What the keeper and the engine say, until a task can say it to the user.
#[derive(Debug)]
pub struct Words {
    file: File,
}

impl Words {
    /// From now on everything goes here that this process or a child of it writes to standard error.
    ///
    /// # Errors
    /// The system has no memory left.
    pub fn collect() -> io::Result<Self> {
        let flags = memfd::Flags::CLOEXEC | memfd::Flags::ALLOW_SEALING;
        let file = memfd::data(c"condatainer-words", b"", flags)?;
        ftruncate(&file, MOST_WORDS.into())?;
        fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK))?;
        dup2_stderr(&file)?;
        Ok(Self { file: file.into() })
    }

    /// All of it, up to now.
    #[must_use]
    pub fn text(&self) -> String {
        let mut bytes = vec![0; MOST_WORDS.into()];
        let read = self.file.read_at(&mut bytes, 0).unwrap_or(0);
        bytes.truncate(read);
        String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()
    }
}

/// A step's container, and where its tasks find it.
pub struct Started<'a> {
    container: Container<'a>,
    directories: [OwnedFd; 2],
}

/// Starts the plan's container.
///
/// # Errors
/// It does not stand.
pub fn start<'a>(plan: &'a Plan, options: &mut Options<'_>) -> Result<Started<'a>, RunError> {
    let mut container = Container::start(plan, options, Streams::Words)?;
    container.publish(options);
    match directories(container.first) {
        Ok(directories) => Ok(Started { container, directories }),
        Err(error) => {
            let _ = finish(container, None, options);
            Err(system("the container's process cannot be looked at in /proc")(error))
        }
    }
}

/// Tells everybody who asks over `channel` to join the container, until the step ends. The outcome is what nobody can tell the tasks any more.
pub fn keep(
    started: Started<'_>,
    options: &mut Options<'_>,
    words: &Words,
    channel: BorrowedFd<'_>,
    mut relays: Option<Relays>,
) -> Outcome {
    let Started { mut container, directories } = started;
    let join = Answer::Join { words: words.text() };
    let end = match not_shared(container.first) {
        None => serve(&mut container, channel, &join, &directories, relays.as_mut()),
        Some(why) => End::NotShared(why, None),
    };
    let outcome = finish(container, relays, options);
    // Now its image is free for those that the tasks start themselves.
    if let End::NotShared(why, task) = end {
        let own = Answer::Own { why: why.into() };
        if let Some(task) = task {
            answer(&task, &own, &[]);
        }
        answer_all(channel, &own);
    }
    outcome
}

/// Tells everybody who asks the same, until the step ends.
pub fn answer_all(channel: BorrowedFd<'_>, same: &Answer) {
    loop {
        match next_call(channel) {
            Call::Task(task, _) => answer(&task, same, &[]),
            Call::End => return,
            Call::Nothing => {
                let _ = poll(&mut [PollFd::new(channel, PollFlags::POLLIN)], PollTimeout::NONE);
            }
        }
    }
}

/// Why a container is not kept any longer.
enum End {
    /// The step is over.
    Step,
    /// The tasks cannot join it; the one that asked first, if that is how it was found out.
    NotShared(&'static str, Option<UnixStream>),
}

fn not_shared(first: Report) -> Option<&'static str> {
    let Report::Started(first) = first else { return None };
    why_not_shared(&Process::this(), &Process::numbered(first))
}

fn serve(
    container: &mut Container<'_>,
    channel: BorrowedFd<'_>,
    join: &Answer,
    directories: &[OwnedFd; 2],
    mut relays: Option<&mut Relays>,
) -> End {
    let ended = Answer::Refused {
        words: String::new(),
        why: "the container of this step has ended before the step: was its process killed?".into(),
    };
    let (mut stands, own_view) = (true, view());
    let patience = PollTimeout::try_from(LOOK).unwrap_or(PollTimeout::NONE);
    loop {
        match next_call(channel) {
            Call::Task(task, view) if view != own_view => return End::NotShared(OTHER_VIEW, Some(task)),
            Call::Task(task, _) if stands => answer(&task, join, &directories.each_ref().map(AsFd::as_fd)),
            Call::Task(task, _) => answer(&task, &ended, &[]),
            Call::End => return End::Step,
            Call::Nothing => {
                if let (Some(relays), Report::Started(first)) = (&mut relays, container.first) {
                    relays.serve(first);
                }
                let calls = std::iter::once(channel).chain(relays.as_deref().map(AsFd::as_fd));
                let at_most = if container.mounted.is_some() { patience } else { PollTimeout::NONE };
                stands = container.child.wait_beside(&calls.collect::<Vec<_>>(), at_most).unwrap_or(false);
                container.mounted.iter_mut().for_each(MountedStack::relieve);
            }
        }
    }
}

/// What is still in the container has no task any more. It goes first, while the file system that it works on is there; and with
/// it what it has called outside, which may have a file in there open.
fn finish(mut container: Container<'_>, relays: Option<Relays>, options: &mut Options<'_>) -> Outcome {
    if let Report::Started(first) = container.first
        && let Some(leftovers) = Leftovers::with(first)
    {
        leftovers.end();
    }
    if let Some(relays) = relays {
        relays.end();
    }
    let mounted = &mut container.mounted;
    let _ = container.child.abandon(|| mounted.iter_mut().for_each(MountedStack::relieve));
    // The tasks have ended: their codes are known, and none is left to say anything. The plugin does, and srun.
    container.end(options, None)
}

/// Of the container's first process, and of this one: a number could be another process's by the time that a task looks there.
fn directories(first: Report) -> io::Result<[OwnedFd; 2]> {
    let Report::Started(first) = first else { return Err(io::ErrorKind::NotFound.into()) };
    Ok([File::open(format!("/proc/{first}"))?.into(), File::open("/proc/self")?.into()])
}
