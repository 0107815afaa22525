//! One task of a Slurm step or batch script, in its container: what the SPANK plugin puts in front of the task's command.
//!
//! It runs as the user, in the task's own process, with the request in the environment.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use condatainer_core::bind::Bind;
use condatainer_core::config::SYSTEM_FILE;
use condatainer_core::plan::Command;
use condatainer_core::request::{ARGUMENTS_VARIABLE, Request, VARIABLE, decode_words};
use condatainer_core::run::{Ended, Forward};
use nix::sys::resource::{Resource, setrlimit};

use crate::args::{TaskArgs, TaskPart};
use crate::exit::Failure;
use crate::start::{self, Surroundings};

/// The arguments of this process. Where Slurm cannot prepend to a task's argv (before 23.11) the plugin replaces only the
/// program and leaves the words that belong in front in a variable.
pub(crate) fn arguments() -> Result<Vec<std::ffi::OsString>, Failure> {
    let arguments = std::env::args_os();
    let Some(prefix) = std::env::var_os(ARGUMENTS_VARIABLE) else { return Ok(arguments.collect()) };
    let words = decode_words(&prefix.to_string_lossy()).map_err(Failure::not_started)?;
    Ok(words.into_iter().map(Into::into).chain(arguments.skip(1)).collect())
}

pub(crate) fn task(args: TaskArgs) -> Result<ExitCode, Failure> {
    let around = Surroundings::look(&args.config.unwrap_or_else(|| PathBuf::from(SYSTEM_FILE)))?;
    let text = around
        .env
        .get(VARIABLE)
        .ok_or_else(|| Failure::not_started(format!("{VARIABLE} is not set: this verb is for Slurm")))?;
    let mut request = Request::decode(text).map_err(Failure::not_started)?;
    let (forward, step) = match args.part {
        TaskPart::Batch => (Forward::FromProcesses, Some(start::batch_step())),
        TaskPart::Step => (Forward::Nothing, None),
    };
    request.bind.extend(batch_script(args.part, &args.command));
    let plan = around.plan(request, Command::Argv(args.command))?;
    match start::run(&plan, forward, around.holder(step))? {
        Ended::Exited(code) => Ok(start::exit_code(code)),
        Ended::Signaled(signal) => Ok(die_by(signal)),
        other => Err(start::not_run(&plan, &other)),
    }
}

/// The batch script lies in slurmd's spool directory, which no container shows by itself.
fn batch_script(part: TaskPart, command: &[String]) -> Option<Bind> {
    let script = command.first().filter(|_| part == TaskPart::Batch)?;
    Path::new(script).is_absolute().then(|| Bind { source: script.into(), destination: script.into(), read_only: true })
}

/// Ends as the command did, so that Slurm sees the signal and not a number; without a second core file.
fn die_by(signal: i32) -> ExitCode {
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let _ = signal_hook::low_level::emulate_default_handler(signal);
    start::exit_code(128 + signal)
}
