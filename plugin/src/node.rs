//! The node's side: one decision per task, in the task's own process and as its user, right before Slurm starts it.
//!
//! Whatever is in doubt refuses the task: it never runs outside the container that was asked for.

use std::path::Path;

use condatainer_core::request::layer::Mode;
use condatainer_core::request::script;
use condatainer_core::request::{ARGUMENTS_VARIABLE, Part, Request, VARIABLE, encode_words};
use nix::unistd::{AccessFlags, access};

use crate::host::{Step, Task, Variable};
use condatainer_core::step::plugin_arguments::PluginArguments;

/// Which of our options reached this node, apart from the canonical value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// One that asks for a container.
    pub(crate) container: bool,
    /// `--condatainer-off`.
    pub(crate) off: bool,
}

/// Puts the program in front of a task that is to run in a container, and leaves every other task alone.
///
/// # Errors
/// One line for the user, or nothing where another task says it; the task must not start.
pub(crate) fn start_task(
    task: &mut impl Task,
    seen: Seen,
    settings: Result<&PluginArguments, &str>,
) -> Result<(), String> {
    let Step::Part(part) = task.step() else { return Ok(()) };
    let request = match task.variable(VARIABLE) {
        Variable::Set(value) => Some(Request::decode(&value).map_err(|e| e.to_string())?),
        Variable::Missing if seen.off => return Ok(()),
        Variable::Missing if !seen.container => None,
        Variable::Missing => {
            return Err(format!(
                "a container was asked for, but {VARIABLE} did not reach the node: load the plugin where you submit, and keep SLURM_ variables"
            ));
        }
        Variable::Unusable => return Err(format!("{VARIABLE} is not a value that condatainer wrote: submit again")),
    };
    let lines = part == Part::Batch && has_unread_lines(task, request.as_ref());
    match &request {
        None if !lines => return Ok(()),
        Some(request) if request.is_off() => return Ok(()),
        Some(request) if !request.scope.covers(part) => {
            return if lines { Err(UNREAD_LINES.into()) } else { Ok(()) };
        }
        _ => {}
    }
    let shared = request.as_ref().filter(|_| part == Part::Step);
    if let Some(refusal) = shared.and_then(|request| refuse_shared_writing(request, nodes_of_step(task))) {
        // Every task of the step is refused, and one says why.
        let is_first = !matches!(task.variable("SLURM_PROCID"), Variable::Set(number) if number != "0");
        return Err(if is_first { refusal } else { String::new() });
    }
    let settings = settings.map_err(String::from)?;
    check_program(&settings.program)?;
    let channel = task.channel();
    task.prepend(&words(settings, part, lines, channel))
}

/// The command of the keeper: it decides for itself whether there is anything to keep, as the user, for this part of the plugin
/// still runs with more privileges than a task.
pub(crate) fn keeper(settings: &PluginArguments, part: Part, script: Option<String>) -> Vec<String> {
    let mut words = vec![settings.program.display().to_string(), "keep".into(), format!("--part={}", name(part))];
    words.push(format!("--config={}", settings.config.display()));
    words.extend(script.into_iter().filter(|_| part == Part::Batch).flat_map(|script| ["--".into(), script]));
    words
}

/// The nodes of the whole step. Each component of a heterogeneous step counts only its own; srun tells their sum, in a variable
/// that it sets itself whatever the user's environment says.
fn nodes_of_step(task: &impl Task) -> u32 {
    let told = match task.variable("SLURM_STEP_NUM_NODES") {
        Variable::Set(number) => number.parse().unwrap_or(1),
        Variable::Missing | Variable::Unusable => 1,
    };
    told.max(task.node_count())
}

/// The refusal for a step whose nodes would all write to one image. On one node the tasks share a container.
fn refuse_shared_writing(request: &Request, nodes: u32) -> Option<String> {
    // `-w` is a mode by now, except where the image was not there to be looked at.
    let without_mode = || request.layers.iter().rfind(|layer| request.write && layer.mode.is_none());
    let written = request.layers.iter().find(|layer| layer.mode == Some(Mode::Rw)).or_else(without_mode)?;
    (nodes > 1).then(|| {
        format!(
            "{}: {nodes} nodes cannot write to one image: run the step on a single one (-N1), or use :ro, or :tmp for writes that need not last",
            written.path.display()
        )
    })
}

const UNREAD_LINES: &str = "the script has #DEP: or #CNT lines, but was not there to be read when it was submitted, so its steps would run without them: submit it as a file";

/// Whether the batch script has lines of ours that nobody has read: it came through a pipe, or from a host without the plugin. This
/// is a glance, in the task's own process and as its user; they are read by the program that is put in front.
fn has_unread_lines(task: &impl Task, request: Option<&Request>) -> bool {
    !request.is_some_and(|request| request.lines_read)
        && task.program().is_some_and(|program| script::has_lines(Path::new(&program)))
}

fn name(part: Part) -> &'static str {
    match part {
        Part::Batch => "batch",
        Part::Step => "step",
    }
}

fn words(settings: &PluginArguments, part: Part, lines: bool, channel: Option<i32>) -> Vec<String> {
    let mut words = vec![settings.program.display().to_string(), "task".into(), format!("--part={}", name(part))];
    words.extend(lines.then(|| "--script".into()));
    words.extend(channel.map(|number| format!("--channel={number}")));
    words.extend([format!("--config={}", settings.config.display()), "--".into()]);
    words
}

fn check_program(program: &Path) -> Result<(), String> {
    access(program, AccessFlags::X_OK).map_err(|errno| {
        format!(
            "{}: cannot be run on this node ({}): tell your administrator that condatainer is not installed here",
            program.display(),
            errno.desc()
        )
    })
}

/// For Slurm before 23.11: the value of [`ARGUMENTS_VARIABLE`], which carries the words in front and the replaced program.
pub(crate) fn arguments_value(words: &[String], program: &str) -> (&'static str, String) {
    let all: Vec<&str> = words.iter().map(String::as_str).chain([program]).collect();
    (ARGUMENTS_VARIABLE, encode_words(&all))
}

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
