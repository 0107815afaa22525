//! `condatainer join`: a shell or a command in a container that runs: of a step, to see what its tasks see, or of a session, to
//! work in the same image from a second terminal.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use condatainer_core::config::SYSTEM_FILE;
use condatainer_core::join::container::Container;
use condatainer_core::join::running::{self, RunningContainer};
use condatainer_core::plan::Command;
use condatainer_core::request::layer::Layer;
use condatainer_images::acquire::holder::{self, BATCH_STEP};
use condatainer_images::trust;
use nix::unistd::Uid;

use crate::complete::candidates;
use crate::say;
use crate::say::failure::Failure;
use crate::start::slurm::task;
use crate::surroundings::Surroundings;

#[derive(Debug, Args)]
pub(crate) struct JoinArgs {
    /// A job, and its step where it has several containers on this node; or an image, or a process that is in the container
    #[arg(value_name = "IMAGE|PID|JOB[.STEP]", add = ArgValueCompleter::new(candidates::containers))]
    pub(crate) container: String,
    /// What to run; a shell if nothing is given
    #[arg(trailing_var_arg = true)]
    pub(crate) command: Vec<String>,
}

pub(crate) fn join(args: JoinArgs) -> Result<ExitCode, Failure> {
    let wanted = Wanted::parse(&args.container)?;
    let running = the_one(&args.container, &wanted, running::all())?;
    let shell = || Command::Shell(std::env::var_os("SHELL").map(Into::into));
    let command = if args.command.is_empty() { shell() } else { Command::Argv(args.command.clone()) };
    let refused = |error| Failure::not_started(format!("{}: {error}", args.container));
    let container = Container::of_running(&running).map_err(refused)?;
    Err(task::failure(&args.command, &container.become_command(command, say::notice)))
}

/// What the user has named.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// `JOB.STEP`
    Step,
    /// A job, or a process of the container or the one that keeps it.
    Number(i32),
    /// A layer of it.
    Image(PathBuf),
}

impl Wanted {
    fn parse(text: &str) -> Result<Self, Failure> {
        if let Ok(number) = text.parse() {
            return Ok(Self::Number(number));
        }
        if is_step(text) {
            return Ok(Self::Step);
        }
        let around = Surroundings::look(Path::new(SYSTEM_FILE))?;
        let layer = Layer::parse(text).map_err(Failure::not_started)?;
        let layer = around.finder().layer(layer).map_err(Failure::not_started)?;
        match layer.path.try_exists() {
            Ok(true) => Ok(Self::Image(layer.path)),
            Ok(false) => Err(Failure::not_started(format!("{}: no such file or directory", layer.path.display()))),
            Err(error) => Err(Failure::not_started(format!("{}: {error}", layer.path.display()))),
        }
    }

    fn is(&self, text: &str, kept: &RunningContainer) -> bool {
        match self {
            Self::Step => !kept.session && kept.name() == text,
            Self::Image(path) => kept.has(path),
            Self::Number(number) => {
                let of_it = [Some(kept.keeper), kept.first].contains(&Some(*number)) || kept.processes.contains(number);
                of_it || kept.job.as_deref() == Some(text)
            }
        }
    }

    /// What there is to say of a process of that number.
    fn process(&self) -> String {
        let Self::Number(number) = self else { return String::new() };
        match running::owner_of(*number) {
            None => String::new(),
            Some(owner) if owner == Uid::effective().as_raw() => format!(", and process {number} is in none"),
            Some(owner) => {
                format!(", and process {number} belongs to {}, and only its owner can join it", trust::name_of(owner))
            }
        }
    }

    /// Why there is none.
    fn missing(&self, text: &str) -> String {
        match self {
            Self::Step | Self::Number(_) => format!(
                "{text}: no such job or step has a container of yours on this node{}: 'condatainer ps' shows them, 'squeue -j {text}' the job's nodes",
                self.process()
            ),
            Self::Image(path) => {
                let holder = holder::read(path).map(|holder| format!(" ({holder} writes to it)")).unwrap_or_default();
                format!(
                    "{text}: no container of yours on this machine has it{holder}: 'condatainer ps' shows them, 'condatainer e {text}' starts one"
                )
            }
        }
    }
}

fn is_step(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('.').is_some_and(|(job, step)| digits(job) && (digits(step) || step == BATCH_STEP))
}

/// The caller's container of that name.
fn the_one(text: &str, wanted: &Wanted, all: Vec<RunningContainer>) -> Result<RunningContainer, Failure> {
    let (mut own, others): (Vec<RunningContainer>, Vec<RunningContainer>) =
        all.into_iter().filter(|kept| wanted.is(text, kept)).partition(RunningContainer::is_own);
    match (own.len(), others.first()) {
        (1, _) => Ok(own.remove(0)),
        (0, Some(other)) => Err(Failure::not_started(format!(
            "{text}: this container belongs to {}, and only its owner can join it",
            other.user
        ))),
        (0, None) if std::env::var_os("IN_CONDATAINER").is_some() => Err(Failure::not_started(format!(
            "{text}: cannot be looked for in a container: join it from a terminal outside"
        ))),
        (0, None) => Err(Failure::not_started(wanted.missing(text))),
        _ => {
            let names: Vec<String> = own.iter().map(RunningContainer::name).collect();
            Err(Failure::not_started(format!(
                "{text}: several containers on this node: name one of {}",
                names.join(", ")
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_steps_are_told_from_images() {
        assert_eq!(Wanted::parse("1234").ok(), Some(Wanted::Number(1234)));
        for step in ["1234.0", "7.batch"] {
            assert_eq!(Wanted::parse(step).ok(), Some(Wanted::Step), "{step}");
        }
        for image in ["7.img", "7.", ".0", "a.0", "7.0.1"] {
            assert!(!is_step(image), "{image}");
        }
    }
}
