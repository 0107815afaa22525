//! `condatainer join`: a shell or a command in the container of a running step, to see what its tasks see.

use std::process::ExitCode;

use condatainer_core::plan::Command;
use condatainer_core::step::join::Container;
use condatainer_core::step::kept::{Kept, kept};
use condatainer_core::user::Caller;

use crate::args::JoinArgs;
use crate::exit::Failure;
use crate::task;

pub(crate) fn join(args: JoinArgs) -> Result<ExitCode, Failure> {
    let kept = named(&args.step, kept())?;
    let shell = || Command::Shell(std::env::var_os("SHELL").map(Into::into));
    let command = if args.command.is_empty() { shell() } else { Command::Argv(args.command.clone()) };
    let refused = |error| Failure::not_started(format!("{}: {error}", kept.name()));
    let container = Container::kept(&kept).map_err(refused)?;
    Err(task::failure(&args.command, &container.become_command(command)))
}

/// The caller's container of this job, or of this step.
fn named(wanted: &str, all: Vec<Kept>) -> Result<Kept, Failure> {
    let user = Caller::current().map_err(Failure::not_started)?.name;
    let is_wanted = |kept: &Kept| kept.name() == wanted || kept.job.as_deref() == Some(wanted);
    let (mut own, others): (Vec<Kept>, Vec<Kept>) =
        all.into_iter().filter(is_wanted).partition(|kept| kept.user == user);
    match (own.len(), others.first()) {
        (1, _) => Ok(own.remove(0)),
        (0, Some(other)) => {
            Err(Failure::not_started(format!("{wanted}: this container is {}'s, who alone can join it", other.user)))
        }
        (0, None) => Err(Failure::not_started(format!(
            "{wanted}: no such job or step has a container of yours on this node: 'condatainer ps' shows them, 'squeue -j {wanted}' the job's nodes"
        ))),
        _ => {
            let names: Vec<String> = own.iter().map(Kept::name).collect();
            Err(Failure::not_started(format!(
                "{wanted}: several containers on this node: name one of {}",
                names.join(", ")
            )))
        }
    }
}
