//! A container from before its start to after its end: repaired images, the engine, the second look, the shim that waits for a word;
//! and in the end what was written.

use std::os::fd::AsRawFd;

use crate::machine::version::no_engine;
use crate::plan::Plan;
use crate::plan::refusal::Refusal;
use crate::record::Use;
use crate::record::entry::Written;
use crate::run::engine::child::{Child, Streams};
use crate::run::engine::descriptors;
use crate::run::engine::leftovers::Leftovers;
use crate::run::engine::shim_socket::{Report, ShimSocket};
use crate::run::engine::signals::Forward;
use crate::run::engine_mounts::EngineMounts;
use crate::run::error::{Ended, RunError, why_nowhere};
use crate::run::images::repair;
use crate::run::mounted_stack::MountedStack;
use crate::run::mounted_stack::end::{Waiter, still_writing};
use crate::run::scratch::Scratch;
use crate::run::session::OpenSession;
use condatainer_images::acquire::holder::{Holder, Published};

/// What the caller wants to be told, and how signals are to be treated.
pub struct Options<'a> {
    /// Which signals that reach this process are passed on.
    pub forward: Forward,
    /// What a writer calls its step where the environment does not say it: [`BATCH_STEP`](condatainer_images::acquire::holder::BATCH_STEP).
    pub step: Option<&'a str>,
    /// Receives lines for the user.
    pub say: &'a mut dyn FnMut(&str),
}

/// A container that stands, whose shim waits for a word.
pub(crate) struct Container<'a> {
    plan: &'a Plan,
    scratch: Scratch,
    pub(crate) mounted: Option<MountedStack>,
    pub(crate) child: Child,
    /// What the shim has said of its start.
    pub(crate) first: Report,
    engine_mounts: Option<EngineMounts<'a>>,
    leftovers: Option<Leftovers>,
    note: Option<Published>,
    record: Option<Use>,
}

impl<'a> Container<'a> {
    /// Everything that comes before the command.
    pub(crate) fn start(plan: &'a Plan, options: &mut Options<'_>, streams: Streams) -> Result<Self, RunError> {
        for notice in &plan.notices {
            (options.say)(notice);
        }
        match (Self::start_one_way(plan, options, streams), &plan.otherwise) {
            (Err(RunError::Mounts(why)), Some(otherwise)) => {
                (options.say)(&format!("the engine mounts the layers of this start: {why}"));
                repair::once_more(otherwise)?;
                Self::start_one_way(otherwise, options, streams)
            }
            (started, _) => started,
        }
    }

    fn start_one_way(plan: &'a Plan, options: &mut Options<'_>, streams: Streams) -> Result<Self, RunError> {
        repair::repair(plan, options.say)?;
        let scratch = Scratch::for_plan(plan, options.say)?;
        let mut engine_mounts = EngineMounts::of(plan)?;
        let mut mounted = MountedStack::for_plan(plan)?;
        let mut child = spawn(plan, &scratch, (engine_mounts.as_ref(), mounted.as_mut()), options, streams)?;
        if let Some(Err(error)) = mounted.as_mut().map(|mounted| mounted.lead(child.number(), &plan.engine, streams)) {
            mounted.iter_mut().for_each(MountedStack::kill);
            let _ = child.abandon(|| {});
            // Whoever has not waited for the mounts does not want to wait for the engine's either.
            return Err(child.interrupted().map_or(error, |signal| RunError::Interrupted(signal as i32)));
        }
        // The engine may wait for a file of a server that does not answer, and cannot end then. Nobody needs that server any more.
        let mut kill = || mounted.iter_mut().for_each(MountedStack::kill);
        let first = child.wait_for_start(&mut kill)?;
        match first {
            Report::Silent => {
                kill();
                return Err(engine_failed(plan, &mut child, engine_mounts.as_ref()));
            }
            Report::Nowhere(errno) => {
                child.give_up(kill);
                return Err(nowhere(plan, errno));
            }
            Report::Started(_) | Report::Failed(_) => {}
        }
        // What we have locked ourselves was looked at then.
        let unchanged = engine_mounts.as_mut().map_or(Ok(()), EngineMounts::stands);
        if let Err(error) = unchanged.and_then(|()| scratch.is_in_place()) {
            child.give_up(|| mounted.iter_mut().for_each(MountedStack::kill));
            return Err(error);
        }
        if let Some(mounted) = &mut mounted {
            mounted.stands(first);
        }
        let leftovers = Leftovers::of(plan, first);
        Ok(Self { plan, scratch, mounted, child, first, engine_mounts, leftovers, note: None, record: None })
    }

    /// What other processes of the user need to join.
    pub(crate) fn session(&self) -> Option<OpenSession> {
        let Report::Started(first) = self.first else { return None };
        OpenSession::new(self.plan, first)
    }

    /// Says whose the lock is, and notes the start where a site wants that. The command need not wait: whoever comes in between waits for the
    /// note a moment.
    pub(crate) fn publish(&mut self, options: &Options<'_>) {
        self.note = self.plan.holds.as_ref().and_then(|image| {
            let current = Holder::current();
            let step = options.step.map(String::from).or(current.step.clone());
            Published::new(image, &Holder { step, ..current }).ok()
        });
        self.record = Use::begin(self.plan, options.step);
    }

    /// Everything that comes after the engine. The record gets the command's end, where there is one command.
    pub(crate) fn end(mut self, options: &mut Options<'_>, command: Option<&Ended>) -> Outcome {
        if let Some(leftovers) = self.leftovers {
            leftovers.end();
        }
        let child = &mut self.child;
        let mut waiter = Waiter { say: options.say, gives_up: &mut || child.is_hurried() };
        let served = self.mounted.take().map(|mounted| mounted.end(&mut waiter)).unwrap_or_default();
        served.lines.iter().for_each(|line| (options.say)(line));
        drop(self.note);
        let was_killed = self.child.was_killed();
        let lost = self.engine_mounts.and_then(|engine_mounts| engine_mounts.end(was_killed));
        let lost = lost.or_else(|| self.scratch.told_full());
        // Whoever has killed the engine knows, and the command's code tells of it.
        if let Some(line) = lost.as_ref().filter(|_| !was_killed) {
            (options.say)(line);
        }
        if let Some(line) = self.scratch.remove() {
            (options.say)(&line);
        }
        let is_written = self.plan.mounts.own().is_some_and(|own| own.workspace.is_some());
        let outcome = match lost {
            Some(_) => Outcome::Lost,
            None if is_written && served.has_failed => Outcome::Lost,
            None if served.lines.is_empty() => Outcome::Kept,
            None => Outcome::Unserved,
        };
        if let Some(record) = self.record {
            let (exit, signal) = command.map_or((None, None), Ended::told);
            record.end(exit, signal, outcome.told());
        }
        outcome
    }
}

/// What has become of the layers, and of what a writer wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As far as anybody can tell it is in the image.
    Kept,
    /// Some of it may be missing; the user was told.
    Lost,
    /// Nothing is written to an image, but its layers could not be served to the end; the user was told.
    Unserved,
}

impl Outcome {
    fn told(self) -> Written {
        match self {
            Self::Kept => Written::Kept,
            Self::Lost => Written::Lost,
            Self::Unserved => Written::Unserved,
        }
    }
}

/// The command is gone, and its caller's prompt does not come.
pub(crate) fn tell_of_slow_disk(plan: &Plan, options: &mut Options<'_>) {
    if let Some(image) = &plan.holds {
        (options.say)(&still_writing(image));
    }
}

fn spawn(
    plan: &Plan,
    scratch: &Scratch,
    (engine_mounts, mounted): (Option<&EngineMounts<'_>>, Option<&mut MountedStack>),
    options: &Options<'_>,
    streams: Streams,
) -> Result<Child, RunError> {
    let (shim, job) = (descriptors::shim()?, descriptors::job(&plan.job())?);
    let config = engine_mounts.map(EngineMounts::config).transpose()?.flatten();
    let (link, far_end) = ShimSocket::pair()?;
    let config_path = config.as_ref().map(descriptors::path).unwrap_or_default();
    let mut argv = plan.engine_argv(scratch.path(), &config_path);
    argv.push(descriptors::path(&shim));
    argv.extend([&far_end, &shim, &job].into_iter().chain(&config).map(|fd| fd.as_raw_fd().to_string()));
    let directory = plan.directory.engine.as_deref();
    let way_in = mounted.map(MountedStack::way_in).transpose()?;
    Child::spawn(&argv, &plan.engine, link, options.forward, streams, directory, way_in)
}

/// The last of the paths is the one without links.
fn nowhere(plan: &Plan, errno: i32) -> RunError {
    let path = plan.directory.paths.last().cloned().unwrap_or_default();
    RunError::Nowhere { path, why: why_nowhere(errno) }
}

/// The engine ended without ever reaching the shim: say who was faster, if that is why, and not the user himself.
fn engine_failed(plan: &Plan, child: &mut Child, engine_mounts: Option<&EngineMounts<'_>>) -> RunError {
    let ended = match child.wait(|| {}, || {}, || {}) {
        Ok(Ended::Exited(code)) => format!("exit code {code}"),
        Ok(Ended::Signaled(signal)) => format!("signal {signal}"),
        Ok(_) => "no exit code".into(),
        Err(error) => return error,
    };
    let faster = engine_mounts.and_then(EngineMounts::failed);
    if let Some(signal) = child.interrupted() {
        return RunError::Interrupted(signal as i32);
    }
    match faster.or_else(|| no_engine(&plan.engine).map(Refusal::NoEngine)) {
        Some(refusal) => RunError::Refused(refusal),
        None => RunError::Engine { engine: plan.engine.flavour, ended },
    }
}
