//! One task of a Slurm step or batch script, in its container: what the SPANK plugin puts in front of the task's command.
//!
//! It runs as the user, in the task's own process, with the request in the environment.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use condatainer_core::config::{SYSTEM_FILE, Wait};
use condatainer_core::join::JoinError;
use condatainer_core::join::container::Container;
use condatainer_core::plan::Command;
use condatainer_core::request::bind::Bind;
use condatainer_core::request::script::Script;
use condatainer_core::request::{ARGUMENTS_VARIABLE, Request, VARIABLE, decode_words};
use condatainer_core::run::{Ended, Forward};
use condatainer_core::step::channel::{self, Answer};
use condatainer_images::acquire::holder::BATCH_STEP;
use nix::sys::resource::{Resource, setrlimit};

use crate::say;
use crate::say::failure::{Code, Failure};
use crate::start::container;
use crate::surroundings::Surroundings;

#[derive(Debug, Args)]
pub(crate) struct TaskArgs {
    /// Which part of the job this is
    #[arg(long, value_enum)]
    pub(crate) part: TaskPart,
    /// The command is a script with lines of ours that nobody has read yet
    #[arg(long)]
    pub(crate) script: bool,
    /// The descriptor by which the keeper of the step's container can be asked
    #[arg(long)]
    pub(crate) channel: Option<i32>,
    /// The system configuration
    #[arg(long)]
    pub(crate) config: Option<PathBuf>,
    /// The task's command
    #[arg(required = true, last = true)]
    pub(crate) command: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TaskPart {
    Batch,
    Step,
}

/// The arguments of this process. Where Slurm cannot prepend to a task's argv (before 23.11) the plugin replaces only the
/// program and leaves the words that belong in front in a variable.
pub(crate) fn arguments() -> Result<Vec<std::ffi::OsString>, Failure> {
    let arguments = std::env::args_os();
    let Some(prefix) = std::env::var_os(ARGUMENTS_VARIABLE) else { return Ok(arguments.collect()) };
    let words = decode_words(&prefix.to_string_lossy()).map_err(Failure::not_started)?;
    Ok(words.into_iter().map(Into::into).chain(arguments.skip(1)).collect())
}

pub(crate) fn task(args: TaskArgs) -> Result<ExitCode, Failure> {
    let command = with_broadcast_name(args.command, |name| std::env::var(name).ok());
    match args.channel.map_or(Ok(None), |channel| joined(channel, args.part, &command, args.config.as_deref()))? {
        Some(ended) => Ok(ended),
        None => alone(args.part, args.script, args.config, command),
    }
}

/// Becomes the command in the step's container; `None` where each task starts its own.
fn joined(
    channel: i32,
    part: TaskPart,
    command: &[String],
    config: Option<&Path>,
) -> Result<Option<ExitCode>, Failure> {
    // One task tells what concerns them all.
    let is_first = std::env::var("SLURM_LOCALID").map_or(true, |number| number == "0");
    let late = || {
        if is_first && waits(config) {
            say::notice(
                "the container of this step does not stand yet: an image of it may be in use (--condatainer-wait)",
            );
        }
    };
    let (answer, directories) = channel::ask(channel, late)
        .map_err(|e| Failure::not_started(format!("the process that keeps this step's container is gone: {e}; start the step again, and if that does not help, have your administrator look for 'condatainer' in slurmd's log of this node")))?;
    let tell = |words: &str| words.lines().filter(|_| is_first).for_each(say::foreign);
    // A single task does not notice.
    let has_others = part == TaskPart::Step && std::env::var("SLURM_STEP_NUM_TASKS").is_ok_and(|tasks| tasks != "1");
    let own = |why: &str| {
        if is_first && has_others {
            say::notice(&format!("each task starts a container of its own: {why}"));
        }
        Ok(None)
    };
    match answer {
        Answer::Own { why } => own(&why),
        Answer::Refused { why, words } => {
            tell(&words);
            if is_first { Err(Failure::not_started(why)) } else { Ok(Some(ExitCode::from(Code::NotStarted as u8))) }
        }
        Answer::Join { words } => {
            tell(&words);
            match Container::answered(&directories) {
                Ok(container) => {
                    let say = |line: &str| [line].iter().filter(|_| is_first).for_each(|line| say::notice(line));
                    Err(failure(command, &container.become_command(Command::Argv(command.to_vec()), say)))
                }
                Err(JoinError::NotShared(why)) => own(why),
                Err(error) => Err(Failure::not_started(error)),
            }
        }
    }
}

/// Whether this step waits for images.
fn waits(config: Option<&Path>) -> bool {
    let waits = |around: Surroundings| Ok(around.wait(&asked_for(&around, None, None)?) != Wait::No);
    Surroundings::look(config.unwrap_or(Path::new(SYSTEM_FILE))).and_then(waits).unwrap_or(false)
}

pub(crate) fn failure(command: &[String], error: &JoinError) -> Failure {
    let code = match error {
        JoinError::NotFound => Code::NotFound,
        JoinError::NotExecutable(_) => Code::NotExecutable,
        JoinError::System { .. } | JoinError::NotShared(_) | JoinError::NoPlace(_) | JoinError::Nowhere { .. } => {
            return Failure::not_started(error);
        }
    };
    match command.first().map_or("", String::as_str) {
        "condatainer" if code == Code::NotFound => Failure::new(code, container::NOT_INSIDE),
        name => Failure::new(code, format!("{name}: {error}")),
    }
}

/// Runs the command in a container of its own.
fn alone(part: TaskPart, lines: bool, config: Option<PathBuf>, command: Vec<String>) -> Result<ExitCode, Failure> {
    let around = Surroundings::look(&config.unwrap_or_else(|| PathBuf::from(SYSTEM_FILE)))?;
    let script = around.cwd.join(command.first().map_or("", String::as_str));
    let batch = (part == TaskPart::Batch).then_some(script.as_path());
    let request = asked_for(&around, Some(script.as_path()).filter(|_| lines), batch)?;
    let (forward, step) = match part {
        TaskPart::Batch => (Forward::FromProcesses, Some(BATCH_STEP)),
        TaskPart::Step => (step_forwarding(), None),
    };
    around.carry_out(&request, &Command::Argv(command), |plan| match container::run(plan, forward, step)? {
        Ended::Exited(code) => Ok(container::exit_code(code)),
        Ended::Signaled(signal) => Ok(die_by(signal)),
        other => Err(container::not_run(plan, &other)),
    })
}

/// What was asked for where the job was submitted, together with the lines of ours in the script `lines`. The batch script `batch`
/// lies in slurmd's spool directory, which no container shows by itself.
pub(crate) fn asked_for(around: &Surroundings, lines: Option<&Path>, batch: Option<&Path>) -> Result<Request, Failure> {
    let given = around.env.get(VARIABLE).map(|text| Request::decode(text).map_err(Failure::not_started)).transpose()?;
    let mut request = match (lines, given) {
        (Some(script), given) => {
            let script = Script::read(script, false).map_err(Failure::not_started)?;
            let lines = script.request(&around.finder()).map_err(Failure::not_started)?;
            lines.overridden_by(given.unwrap_or_default())
        }
        (None, Some(given)) => given,
        (None, None) => return Err(Failure::not_started(format!("{VARIABLE} is not set: this verb is for Slurm"))),
    };
    let batch = batch.filter(|script| script.is_absolute());
    request.bind.extend(batch.map(|script| Bind {
        source: script.into(),
        destination: script.into(),
        read_only: true,
    }));
    Ok(request)
}

/// `srun --bcast=DIR/` leaves the name of the copied program to slurmstepd, which adds it (`BCAST_FILE_FMT`, fname.h) to a command
/// that ends in a slash; with our program in front it does not get to see that.
fn with_broadcast_name(mut command: Vec<String>, variable: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let ids = (variable("SLURM_JOB_ID"), variable("SLURM_STEP_ID"), variable("SLURMD_NODENAME"));
    if let (Some(program), (Some(job), Some(step), Some(node))) = (command.first_mut(), ids)
        && program.ends_with('/')
    {
        program.push_str(&format!("slurm_bcast_{job}.{step}_{node}"));
    }
    command
}

/// How Slurm signals a step: under proctrack/cgroup only the task's own process, which is this one, else all its processes.
fn step_forwarding() -> Forward {
    let cgroups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    if is_tracked_by_cgroup(&cgroups) { Forward::FromProcesses } else { Forward::Nothing }
}

/// Whether proc_pid_cgroup(5) shows a step's cgroup: that of the freezer (v1, `…/job_JOB/step_STEP`), or the only one (v2,
/// `…/step_STEP/user/task_TASK`). What stands before differs: with v2 a job's is called by its number up to Slurm 25.11, and by its
/// SLUID from 26.05 on.
fn is_tracked_by_cgroup(cgroups: &str) -> bool {
    cgroups.lines().any(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        if controllers.split(',').any(|name| name == "freezer") {
            return path.contains("/step_");
        }
        let names: Vec<&str> = path.split('/').collect();
        controllers.is_empty()
            && matches!(&*names, [.., step, "user", task] if step.starts_with("step_") && task.starts_with("task_"))
    })
}

/// Ends as the command did, so that Slurm sees the signal and not a number; without a second core file.
fn die_by(signal: i32) -> ExitCode {
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let _ = signal_hook::low_level::emulate_default_handler(signal);
    container::exit_code(128 + signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcast_programs_get_their_name() {
        let variable = |name: &str| Some(name.replace("SLURM", "").to_lowercase());
        let named = |program: &str| with_broadcast_name(vec![program.into()], variable);
        assert_eq!(named("/tmp/"), ["/tmp/slurm_bcast__job_id._step_id_d_nodename"]);
        assert_eq!(named("/bin/true"), ["/bin/true"]);
        assert_eq!(with_broadcast_name(vec!["/tmp/".into()], |_| None), ["/tmp/"]);
    }

    #[test]
    fn cgroups_of_steps() {
        for tracked in [
            "0::/system.slice/slurmstepd.scope/job_7/step_0/user/task_0\n",
            "0::/system.slice/n1_slurmstepd.scope/s2A6X8E9MM7G00/step_0/user/task_0\n",
            "0::/system.slice/slurmstepd.scope/s2A6X8E9MM7G00/step_7+1/user/task_4294967293\n",
            "5:freezer:/slurm/uid_1001/job_7/step_0\n4:cpuset:/\n",
            "5:cpu,freezer:/slurm_n1/uid_1001/job_7/step_batch\n0::/system.slice/slurmd.service\n",
        ] {
            assert!(is_tracked_by_cgroup(tracked), "{tracked}");
        }
        for other in [
            "5:freezer:/\n4:cpuset:/slurm/uid_1001/job_7/step_0\n0::/\n",
            "5:freezer:/slurm/uid_1001/job_7\n",
            "0::/user.slice\n",
            "0::/system.slice/slurmstepd.scope/s2A6X8E9MM7G00/step_0/slurm/condatainer/keeper\n",
        ] {
            assert!(!is_tracked_by_cgroup(other), "{other}");
        }
    }
}
