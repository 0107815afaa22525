//! `condatainer admin hold`: holds every job in the queue that wants a container, before the plugin is taken out of Slurm.
//!
//! Without the plugin nobody reads what such a job asks for, and it would run on the host. What users wrote is searched for our words
//! here, and not parsed: the caller is an administrator.

use std::collections::BTreeMap;
use std::process::{Command, ExitCode};

use clap::{Args, Subcommand};
use condatainer_images::system::escape::one_line;
use serde::Serialize;

use crate::say;
use crate::say::failure::{Code, Failure};
use crate::say::print;

/// For administrators.
#[derive(Debug, Subcommand)]
pub(crate) enum AdminVerb {
    /// Hold all jobs in the queue that want a container, before you take the plugin out of Slurm
    #[command(
        after_help = "Examples:\n  condatainer admin hold             as root or a Slurm operator\n  condatainer admin hold --dry-run   show the jobs only\n\nIt looks for --condatainer options, #DEP: and #CNT lines. Jobs that run already are named: their next steps are in danger.\nRelease the jobs with 'scontrol release' when the plugin is back.\n\nExit code: 0 all of them are held, 1 one could not be held or runs already."
    )]
    Hold(HoldArgs),
}

#[derive(Debug, Args)]
pub(crate) struct HoldArgs {
    /// Show the jobs, and hold none
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A job that wants a container.
#[derive(Debug, Serialize)]
struct Found {
    job: u32,
    /// Where it says so.
    by: &'static str,
    state: State,
    /// Why Slurm did not hold it.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Held,
    Pending,
    Running,
}

pub(crate) fn hold(args: &HoldArgs) -> Result<ExitCode, Failure> {
    let told = scontrol(&["--oneliner", "show", "job"])?;
    let lines = by_job(&told);
    let queue = slurm("squeue", &["--noheader", "--states=all", "--format=%A %T"])?;
    let mut found = Vec::new();
    for (job, is_pending) in jobs(&queue) {
        let Some(by) = wants_container(job, lines.get(&job).copied()) else { continue };
        found.push(held(job, by, is_pending, args.dry_run));
    }
    if !told.is_empty() && !told.contains(" SubmitLine=") {
        say::notice(
            "this Slurm does not show the command lines of jobs, so options in them are not seen: see 'sacct -X -s PD -o JobID,SubmitLine%300'",
        );
    }
    print::report(args.json, &found, || text(&found))?;
    let is_safe = args.dry_run || found.iter().all(|job| job.state == State::Held);
    Ok(if is_safe { ExitCode::SUCCESS } else { ExitCode::from(Code::Failed as u8) })
}

fn held(job: u32, by: &'static str, is_pending: bool, dry_run: bool) -> Found {
    if !is_pending || dry_run {
        let state = if is_pending { State::Pending } else { State::Running };
        return Found { job, by, state, problem: None };
    }
    match scontrol(&["hold", &job.to_string()]) {
        Ok(_) => Found { job, by, state: State::Held, problem: None },
        Err(failure) => Found { job, by, state: State::Pending, problem: Some(failure.message()) },
    }
}

/// Jobs that are not over, and whether each still waits. An array's waiting tasks have one number.
fn jobs(queue: &str) -> impl Iterator<Item = (u32, bool)> + '_ {
    queue.lines().filter_map(|line| {
        let (job, state) = line.split_once(' ')?;
        let is_pending = matches!(state, "PENDING" | "REQUEUED" | "REQUEUE_HOLD" | "SPECIAL_EXIT");
        let goes_on = is_pending || matches!(state, "RUNNING" | "SUSPENDED" | "CONFIGURING" | "STOPPED" | "SIGNALING");
        goes_on.then_some((job.parse().ok()?, is_pending))
    })
}

/// The line about each job; its number is the first word, before anything that a user has written.
fn by_job(told: &str) -> BTreeMap<u32, &str> {
    let of = |line| -> Option<(u32, &str)> {
        let rest: &str = str::strip_prefix(line, "JobId=")?;
        Some((rest.split(' ').next()?.parse().ok()?, line))
    };
    told.lines().filter_map(of).collect()
}

fn wants_container(job: u32, line: Option<&str>) -> Option<&'static str> {
    if line.is_some_and(|line| line.contains(OPTION)) {
        return Some("its command line");
    }
    // One without a script has none to show.
    let script = Command::new("scontrol").args(["write", "batch_script", &job.to_string(), "-"]).output().ok()?;
    in_script(&script.stdout)
}

const OPTION: &str = "--condatainer-";

/// Which words of ours a script has. More than the plugin would take for an order: a job too many that waits harms less than one that
/// runs on the host.
fn in_script(text: &[u8]) -> Option<&'static str> {
    let begins = |mark: &[u8]| text.split(|byte| *byte == b'\n').any(|line| line.trim_ascii_start().starts_with(mark));
    if text.windows(OPTION.len()).any(|part| part == OPTION.as_bytes()) {
        return Some("an option in its script");
    }
    (begins(b"#DEP:") || begins(b"#CNT")).then_some("a #DEP: or #CNT line in its script")
}

fn scontrol(arguments: &[&str]) -> Result<String, Failure> {
    slurm("scontrol", arguments)
}

fn slurm(program: &str, arguments: &[&str]) -> Result<String, Failure> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| Failure::failed(format!("{program}: {error}: run this where Slurm is")))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::failed(format!("{program} {}: {}", arguments.join(" "), why.trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn text(found: &[Found]) -> String {
    if found.is_empty() {
        return "no job in the queue wants a container\n".into();
    }
    let line = |job: &Found| {
        let (number, by) = (job.job, job.by);
        match (&job.problem, job.state) {
            (Some(problem), _) => format!("{number}  not held: {}\n", one_line(problem)),
            (None, State::Held) => format!("{number}  held: {by}\n"),
            (None, State::Pending) => format!("{number}  waits: {by}\n"),
            (None, State::Running) => {
                format!("{number}  runs: {by}: without the plugin its next steps would run on the host\n")
            }
        }
    };
    found.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ours_in_a_script() {
        assert_eq!(in_script(b"#!/bin/sh\n#SBATCH --condatainer-overlay=a\n"), Some("an option in its script"));
        for line in ["#DEP: a", " #CNT -w", "#DEP:a"] {
            let text = format!("#!/bin/sh\n{line}\n\u{ff}");
            assert_eq!(in_script(text.as_bytes()), Some("a #DEP: or #CNT line in its script"), "{line}");
        }
        for none in ["", "#!/bin/sh\ncondatainer run x\n", "echo '#DEP: a'"] {
            assert_eq!(in_script(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn jobs_that_are_not_over() {
        let queue = "7 PENDING\n8 RUNNING\n9 COMPLETED\nx PENDING\n10 REQUEUE_HOLD\n";
        assert_eq!(jobs(queue).collect::<Vec<_>>(), [(7, true), (8, false), (10, true)]);
        let told = by_job("JobId=7 JobName=JobId=8 x\n\nJobId=9 ArrayJobId=9\n");
        assert_eq!(told.keys().copied().collect::<Vec<_>>(), [7, 9]);
    }
}
