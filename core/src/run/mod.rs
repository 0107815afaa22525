//! Carries a plan out: repairs what a killed writer left, starts the engine, looks again, lets the command go, waits, and says
//! how it ended.

pub mod apt;
pub mod engine;
pub mod images;
mod keep;
mod scratch;
pub(crate) mod startup;

use crate::run::engine::descriptors;
use crate::run::engine::engine_config;
use crate::run::engine::orphans;
use crate::run::images::knowledge;
use crate::run::images::look_again;
use crate::run::images::repair;
use crate::run::images::tidy;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use nix::errno::Errno;

use crate::machine::engine::Flavour;
use crate::machine::survey;
use crate::plan::Plan;
use crate::plan::binds;
use crate::plan::refusal::Refusal;
use crate::run::engine::child::{Child, Streams};
use crate::run::engine::leftovers::Leftovers;
use crate::run::engine::link::{Link, Report};
use crate::run::images::knowledge::Known;
use crate::run::scratch::Scratch;
use crate::session;
use condatainer_formats::ext::Room;
use condatainer_images::lock::held::HeldError;
use condatainer_images::lock::holder::{Holder, Published};
use condatainer_images::verbs::create::CreateError;
use condatainer_programs::command::{ANOTHER, ENOENT};

pub(crate) use crate::run::engine::engine_config::before_path;
pub use crate::run::engine::signals::Forward;
pub(crate) use crate::run::images::tidy::lost;
pub use crate::run::keep::{Words, answer_all, keep};

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The command's own exit code.
    Exited(i32),
    /// The signal that ended the command.
    Signaled(i32),
    /// The command is in the container, but cannot be executed; the system's reason.
    NotExecutable(String),
    /// There is no such command in the container.
    NotFound,
}

impl Ended {
    /// Whether a signal has ended it. Apptainer ends itself with what a shell would say of its container.
    fn is_by_signal(&self) -> bool {
        matches!(self, Self::Signaled(_)) || matches!(self, Self::Exited(code) if (129..=192).contains(code))
    }
}

/// Why the command was not started.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A layer changed between the decision and the start, or somebody else was faster.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The engine gave up before the container stood; it has said why.
    #[error(
        "{engine} could not start the container (it ended with {ended}); its own message is above; 'condatainer doctor' looks for the reason"
    )]
    Engine {
        /// Which one.
        engine: Flavour,
        /// Its exit code or signal.
        ended: String,
    },
    /// The user did not wait for the container.
    #[error("interrupted by signal {0} before the command was started")]
    Interrupted(i32),
    /// The container has not got the directory that the command was to start in.
    #[error(
        "{}: the working directory cannot be entered in the container: {why}: show it with --bind, or start in another with --pwd (in Slurm: --condatainer-bind, --condatainer-workdir)",
        path.display()
    )]
    Nowhere {
        /// The directory.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A file changed while the container was being set up.
    #[error("{}: {what} while the container was being started: start again", path.display())]
    Changed {
        /// The base or a layer.
        path: PathBuf,
        /// What changed.
        what: &'static str,
    },
    /// The last writer was killed, and the image could not be repaired.
    #[error(transparent)]
    Repair(#[from] HeldError),
    /// The image for what `:tmp` layers write could not be made.
    #[error("an image for what :tmp layers write: {0}")]
    Scratch(#[source] CreateError),
    /// The system refused something that a start needs.
    #[error("{what}: {source}")]
    System {
        /// What was to be done.
        what: String,
        /// The system's reason.
        source: io::Error,
    },
}

pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> RunError {
    let what = what.into();
    move |source| RunError::System { what, source }
}

/// What the caller wants to be told, and how signals are to be treated.
pub struct Options<'a> {
    /// Which signals that reach this process are passed on.
    pub forward: Forward,
    /// What a writer calls its step where the environment does not say it: [`BATCH_STEP`](condatainer_images::lock::holder::BATCH_STEP).
    pub step: Option<&'a str>,
    /// Receives lines for the user.
    pub say: &'a mut dyn FnMut(&str),
}

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
    let over = || joined = session.as_ref().map_or(0, session::Open::end);
    let ended = container.child.wait(over, || tell_of_slow_disk(plan, options))?;
    if joined > 0 {
        let processes = if joined == 1 { "process" } else { "processes" };
        (options.say)(&format!("ended {joined} {processes} that had joined this container"));
    }
    let interrupted = container.child.interrupted().map(|signal| Ended::Signaled(signal as i32));
    let never_ran = |error| if ended.is_by_signal() { Ok(ended.clone()) } else { interrupted.ok_or(error) };
    let ended = let_go.map_or_else(never_ran, |()| Ok(ended.clone()));
    match (container.end(options), ended?) {
        // Whoever goes on because of a success would go on without what was written.
        (Outcome::Lost, Ended::Exited(0)) => Ok(Ended::Exited(1)),
        (_, ended) => Ok(ended),
    }
}

/// A container that stands, whose shim waits for a word.
struct Container<'a> {
    plan: &'a Plan,
    scratch: Scratch,
    child: Child,
    first: Report,
    room: Option<Room>,
    known: Vec<Known>,
    leftovers: Option<Leftovers>,
    note: Option<Published>,
}

impl<'a> Container<'a> {
    /// Everything that comes before the command.
    fn start(plan: &'a Plan, options: &mut Options<'_>, streams: Streams) -> Result<Self, RunError> {
        for notice in &plan.notices {
            (options.say)(notice);
        }
        repair::repair(plan, options.say)?;
        let scratch = Scratch::for_plan(plan, options.say)?;
        let room = plan.holds.as_deref().and_then(tidy::room);
        let mut child = spawn(plan, &scratch, options, streams)?;
        let first = child.wait_for_start()?;
        match first {
            Report::Silent => return Err(engine_failed(plan, &mut child)),
            Report::Nowhere(errno) => {
                let _ = child.abandon();
                return Err(nowhere(plan, errno));
            }
            Report::Started(_) | Report::Failed(_) => {}
        }
        if let Err(error) = look_again::look_again(plan).and_then(|()| scratch.look_again()) {
            let _ = child.abandon();
            return Err(error);
        }
        let known = knowledge::keep(plan);
        let leftovers = Leftovers::of(plan, first);
        Ok(Self { plan, scratch, child, first, room, known, leftovers, note: None })
    }

    /// What other processes of the user need to join.
    fn session(&self) -> Option<session::Open> {
        let Report::Started(first) = self.first else { return None };
        session::Open::new(self.plan, first)
    }

    /// Says whose the lock is. The command need not wait for that: whoever comes in between waits for the note a moment.
    fn publish(&mut self, options: &Options<'_>) {
        self.note = self.plan.holds.as_ref().and_then(|image| {
            let current = Holder::current();
            let step = options.step.map(String::from).or(current.step.clone());
            Published::new(image, &Holder { step, ..current }).ok()
        });
    }

    /// Everything that comes after the engine.
    fn end(self, options: &mut Options<'_>) -> Outcome {
        if let Some(leftovers) = self.leftovers {
            leftovers.end();
        }
        self.known.into_iter().for_each(Known::renew);
        drop(self.note);
        let was_killed = self.child.was_killed();
        if let Some(image) = self.plan.holds.as_ref().filter(|_| was_killed) {
            let _ = orphans::end(image);
        }
        settle(self.plan);
        let lost = self.plan.holds.as_ref().and_then(|image| tidy::tidy(image, self.room));
        let lost = lost.or_else(|| self.scratch.told_full());
        // Whoever has killed the engine knows, and the command's code tells of it.
        if let Some(line) = lost.as_ref().filter(|_| !was_killed) {
            (options.say)(line);
        }
        if let Some(line) = self.scratch.remove() {
            (options.say)(&line);
        }
        if lost.is_some() { Outcome::Lost } else { Outcome::Kept }
    }
}

/// What has become of what a writer wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// As far as anybody can tell it is in the image.
    Kept,
    /// Some of it may be missing; the user was told.
    Lost,
}

fn spawn(plan: &Plan, scratch: &Scratch, options: &Options<'_>, streams: Streams) -> Result<Child, RunError> {
    let (shim, job) = (descriptors::shim()?, descriptors::job(&plan.job())?);
    let config = engine_config::for_plan(plan)?;
    let (link, far_end) = Link::pair()?;
    let config_path = config.as_ref().map(descriptors::path).unwrap_or_default();
    let mut argv = plan.engine_argv(scratch.path(), &config_path);
    argv.push(descriptors::path(&shim));
    argv.extend([&far_end, &shim, &job].into_iter().chain(&config).map(|fd| fd.as_raw_fd().to_string()));
    let directory = plan.directory.engine.as_deref();
    Child::spawn(&argv, &plan.engine, link, options.forward, streams, directory)
}

/// The last of the paths is the one without links.
fn nowhere(plan: &Plan, errno: i32) -> RunError {
    let path = plan.directory.paths.last().cloned().unwrap_or_default();
    RunError::Nowhere { path, why: why_nowhere(errno) }
}

/// Why a directory cannot be entered in a container.
pub(crate) fn why_nowhere(errno: i32) -> String {
    match errno {
        ANOTHER => "another directory is in its place".into(),
        ENOENT => "it is not there".into(),
        errno => Errno::from_raw(errno).desc().into(),
    }
}

/// The command is gone, and its caller's prompt does not come.
fn tell_of_slow_disk(plan: &Plan, options: &mut Options<'_>) {
    if let Some(image) = &plan.holds {
        (options.say)(&format!("{}: waiting until what was written is on the disk", image.display()));
    }
}

/// The engine ended without ever reaching the shim: say who was faster, if that is why, and not the user himself.
fn engine_failed(plan: &Plan, child: &mut Child) -> RunError {
    let ended = match child.wait(|| {}, || {}) {
        Ok(Ended::Exited(code)) => format!("exit code {code}"),
        Ok(Ended::Signaled(signal)) => format!("signal {signal}"),
        Ok(_) => "no exit code".into(),
        Err(error) => return error,
    };
    // Our own engine's daemons may still hold the image, and must not be taken for somebody else. Apptainer 1.1 kills the guard
    // of one that it has waited for too long, and so leaves that one.
    let _ended = plan.holds.as_ref().and_then(|image| orphans::end(image));
    settle(plan);
    if let Some(signal) = child.interrupted() {
        return RunError::Interrupted(signal as i32);
    }
    match look_again::who_was_faster(plan).or_else(|| survey::no_engine(&plan.engine).map(Refusal::NoEngine)) {
        Some(refusal) => RunError::Refused(refusal),
        None => RunError::Engine { engine: plan.engine.flavour, ended },
    }
}

/// Waits until the engine's FUSE processes have let go of the written image, so that whoever comes next finds it free.
fn settle(plan: &Plan) {
    if let Some(image) = &plan.holds {
        look_again::wait_for_writer(image);
    }
}
