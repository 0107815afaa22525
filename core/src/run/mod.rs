//! Carries a plan out: starts a container, lets the command go, waits, and says how it ended.
//!
//! [`container`] is the way from the first repair to the last look at what was written. On it lie [`images`] (what is done to them
//! before and after), [`mounted_stack`] (the layers, where we mount them ourselves) or [`engine_mounts`] (where the engine does), [`engine`] (the program that makes the container, and what it leaves behind) and [`session`] (how others find a
//! container to join it). [`scratch`] is the directory for what `:tmp` layers write, [`zsh_startup`] the one that a zsh in the
//! container reads in the place of the user's. [`apt`] tells what to do about an apt that fails because only root exists inside.

pub mod apt;
pub(crate) mod container;
pub mod engine;
pub mod engine_mounts;
pub(crate) mod error;
pub(crate) mod images;
pub mod inside;
pub(crate) mod mounted_stack;
mod scratch;
pub(crate) mod session;
pub(crate) mod zsh_startup;

use crate::plan::Plan;
use crate::plan::binds;
use crate::run::engine::child::Streams;
use crate::run::mounted_stack::MountedStack;
use crate::run::session::OpenSession;

pub use condatainer_programs::exit_code;
use container::{Container, tell_of_slow_disk};
pub use container::{Options, Outcome};
pub use engine::signals::Forward;
pub use error::{Ended, RunError};

/// Runs the plan to its end.
///
/// # Errors
/// Only where the command was not started; everything that the command itself does is an [`Ended`].
pub fn run(plan: &Plan, options: &mut Options<'_>) -> Result<Ended, RunError> {
    let mut container = match Container::start(plan, options, Streams::Callers) {
        Err(RunError::Interrupted(signal)) => return Ok(Ended::Signaled(signal)),
        started => started?,
    };
    let session = container.session();
    if container.child.lacks_tmpdir() {
        (options.say)(&binds::no_tmpdir(std::env::var_os("TMPDIR").unwrap_or_default()));
    }
    let let_go = container.child.let_go();
    if let_go.is_ok() {
        container.publish(options);
    }
    let mut joined = 0;
    let over = || joined = session.as_ref().map_or(0, OpenSession::end);
    let mounted = &mut container.mounted;
    let relieve = || mounted.iter_mut().for_each(MountedStack::relieve);
    let ended = container.child.wait(over, || tell_of_slow_disk(plan, options), relieve);
    if joined > 0 {
        let processes = if joined == 1 { "process" } else { "processes" };
        (options.say)(&format!("ended {joined} {processes} that had joined this container"));
    }
    let interrupted = container.child.interrupted().map(|signal| Ended::Signaled(signal as i32));
    let ended = ended.and_then(|ended| match let_go {
        Err(_) if ended.is_by_signal() => Ok(ended),
        Err(error) => interrupted.ok_or(error),
        Ok(()) => Ok(ended),
    });
    // What was written is made last, however the wait for the command has ended.
    match (container.end(options, ended.as_ref().ok()), ended?) {
        // Whoever goes on because of a success would go on without what was written.
        (Outcome::Lost, Ended::Exited(0)) => Ok(Ended::Exited(exit_code::WRITES_LOST.into())),
        (_, ended) => Ok(ended),
    }
}
