//! The keeper of a step's container: started by the SPANK plugin, as the user, before the step's tasks, and ended with the step.
//!
//! It has no terminal and no output of its own: what there is to say goes to the tasks that ask it, over the socket at its
//! standard input.

use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use condatainer_core::config::SYSTEM_FILE;
use condatainer_core::plan::{Command, Plan};
use condatainer_core::request::{Part, Request, script};
use condatainer_core::run::{Forward, Options, Outcome};
use condatainer_core::step::channel::Answer;
use condatainer_core::step::keeper::{self, Words, answer_all};
use condatainer_core::step::limits;
use condatainer_core::step::relay::server::Relays;
use condatainer_core::step::warden::{KEEPER_LOST, KEEPER_UNSERVED};
use condatainer_images::acquire::holder::BATCH_STEP;

use crate::say;
use crate::say::failure::Failure;
use crate::start::slurm::task::{TaskPart, asked_for};
use crate::start::waiting::Waiting;
use crate::surroundings::Surroundings;

#[derive(Debug, Args)]
pub(crate) struct KeepArgs {
    /// Which part of the job this is
    #[arg(long, value_enum)]
    pub(crate) part: TaskPart,
    /// The system configuration
    #[arg(long)]
    pub(crate) config: Option<PathBuf>,
    /// The batch script
    #[arg(last = true)]
    pub(crate) script: Option<PathBuf>,
}

/// srun sets it for a step with a terminal (`--pty`).
const OF_TERMINALS: &str = "SLURM_PTY_PORT";

pub(crate) fn keep(args: KeepArgs) -> Result<ExitCode, Failure> {
    let stdin = std::io::stdin();
    let channel = stdin.as_fd();
    let words = Words::collect().map_err(Failure::not_started)?;
    limits::take_over_submitted(|name| std::env::var(name).ok());
    let part = args.part;
    let step = (part == TaskPart::Batch).then_some(BATCH_STEP);
    let mut say = |line: &str| say::notice(line);
    let mut options = Options { forward: Forward::Nothing, step, say: &mut say };
    let outcome = asked(args).and_then(|asked| {
        let Some((around, request)) = asked else { return Ok(Outcome::Kept) };
        let waiting = Waiting::new(around.wait(&request), Some(channel));
        waiting.until_free(|| {
            let mut plan = around.plan(&request, Command::Argv(Vec::new()))?;
            if !plan.shares_namespaces() {
                let why = format!("{} mounts the images of this stack by the kernel", plan.engine.flavour);
                answer_all(channel, &Answer::Own { why });
                return Ok(Outcome::Kept);
            }
            let relays = if calls_slurm(part) { offered(&mut plan) } else { None };
            let started = keeper::start(&plan, &mut options).map_err(Failure::of_run)?;
            Ok(keeper::keep(started, &mut options, &words, channel, relays))
        })
    });
    Ok(match outcome {
        Ok(Outcome::Kept) => ExitCode::SUCCESS,
        Ok(Outcome::Lost) => ExitCode::from(KEEPER_LOST),
        Ok(Outcome::Unserved) => ExitCode::from(KEEPER_UNSERVED),
        Err(failure) => {
            answer_all(channel, &Answer::Refused { words: words.text(), why: failure.message() });
            ExitCode::SUCCESS
        }
    })
}

/// Scripts and people do; other steps keep their mounts and variables as they are.
fn calls_slurm(part: TaskPart) -> bool {
    part == TaskPart::Batch || std::env::var_os(OF_TERMINALS).is_some()
}

fn offered(plan: &mut Plan) -> Option<Relays> {
    Relays::offer(plan).unwrap_or_else(|error| {
        say::notice(&format!("Slurm's commands cannot be called from the container of this step: {error}"));
        None
    })
}

/// As slurmstepd does for its tasks, a moment too late for the container to show it. A failure is said there.
fn make_tmpdir() {
    let dir = std::env::var_os("TMPDIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let _ = dir.map(|dir| std::fs::DirBuilder::new().mode(0o700).create(dir));
}

/// `None` where this part of the job has no container, so that nobody is going to ask.
fn asked(args: KeepArgs) -> Result<Option<(Surroundings, Request)>, Failure> {
    make_tmpdir();
    let around = Surroundings::look(&args.config.unwrap_or_else(|| PathBuf::from(SYSTEM_FILE)))?;
    let script = args.script.as_deref().filter(|_| args.part == TaskPart::Batch);
    let given = asked_for(&around, None, script)?;
    let lines = script.filter(|script| !given.lines_read && script::has_lines(script));
    let request = if lines.is_some() { asked_for(&around, lines, script)? } else { given };
    let part = match args.part {
        TaskPart::Batch => Part::Batch,
        TaskPart::Step => Part::Step,
    };
    if request.is_off() || !request.scope.covers(part) {
        return Ok(None);
    }
    Ok(Some((around, request)))
}
