//! A script with `#SBATCH` lines becomes a job that calls `condatainer run` on it, with every option that was given here.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use condatainer_core::request::Request;
use condatainer_core::request::defaults;
use condatainer_core::request::names::Finder;
use condatainer_core::request::script::Script;
use condatainer_core::submission;
use condatainer_images::system::escape::shell_words;
use condatainer_images::tools::programs;
use serde::Serialize;

use crate::say;
use crate::say::failure::Failure;
use crate::say::print;
use crate::start::args::DryRun;
use crate::start::container::exit_code;
use crate::start::run::args::RunArgs;
use crate::surroundings::Surroundings;

/// By these a process knows that it is in a container already.
const IN_CONTAINER: [&str; 5] =
    ["APPTAINER_CONTAINER", "SINGULARITY_CONTAINER", "APPTAINER_NAME", "SINGULARITY_NAME", "IN_CONDATAINER"];

/// What sbatch is given.
#[derive(Debug, Serialize)]
struct Submission {
    /// Its command line.
    argv: Vec<String>,
    /// Its standard input.
    script: String,
}

/// The sbatch that is to make a job of the script: it has lines for sbatch, or options for sbatch were given. Never within a job.
pub(super) fn wanted(args: &RunArgs, script: &Script, around: &Surroundings) -> Result<Option<PathBuf>, Failure> {
    let path = script.path.display();
    let inside = std::iter::once(&"SLURM_JOB_ID").chain(&IN_CONTAINER).find(|name| around.env.contains_key(**name));
    match (inside, args.sbatch.is_empty(), programs::find("sbatch")) {
        (Some(name), false, _) => Err(Failure::not_started(format!(
            "--sbatch: {name} is set: a script runs right here in a job or container"
        ))),
        (None, false, None) => Err(Failure::not_started("--sbatch: there is no sbatch on this machine")),
        (None, false, found) => Ok(found),
        (None, true, found) if script.header.is_for_slurm() && !args.no_submit => {
            if found.is_none() {
                say::notice(&format!("{path}: has #SBATCH lines, but there is no sbatch here: it runs right here"));
            }
            Ok(found)
        }
        _ => Ok(None),
    }
}

/// Submits, and prints the number of the job.
pub(super) fn submit(
    sbatch: &Path,
    args: &RunArgs,
    script: &Script,
    options: Request,
    around: &Surroundings,
) -> Result<ExitCode, Failure> {
    check_options(args, script)?;
    let dir = script.header.chdir(&args.sbatch).map_or_else(|| around.cwd.clone(), |dir| around.cwd.join(dir));
    let finder = Finder { cwd: &dir, ..around.finder() };
    let of_script = script.request(&finder).map_err(Failure::not_started)?;
    let mut options = options;
    if of_script.layers.is_empty() {
        options.layers = around.layers_or_default(options.layers)?;
    }
    let submission = submission(sbatch, args, script, &options)?;
    let mut request = of_script.overridden_by(options);
    request.base = around.config.base(request.base.take());
    submission::check(&mut request, &around.config).map_err(Failure::not_started)?;
    match args.start.dry_run {
        Some(DryRun::Text) => print::text(&submission.to_shell())?,
        Some(DryRun::Json) => print::json(&submission)?,
        None => return hand_over(&submission, &script.path),
    }
    Ok(ExitCode::SUCCESS)
}

/// What would make another job than the one that is meant.
fn check_options(args: &RunArgs, script: &Script) -> Result<(), Failure> {
    let refuse = |text: String| Err(Failure::not_started(text));
    let all: Vec<String> = args.sbatch.iter().cloned().chain(script.header.sbatch_words()).collect();
    if let Some(word) = all.iter().find(|word| word.starts_with("--condatainer")) {
        return refuse(format!(
            "{}: {word} is for 'sbatch {0}'; with 'condatainer run' write -o and so on, or #DEP: and #CNT lines",
            script.path.display()
        ));
    }
    match args.sbatch.iter().find(|option| !option.starts_with('-') || option.starts_with("--wr")) {
        Some(word) => refuse(format!("--sbatch {word}: write one option of sbatch, such as --sbatch=--mem=16G")),
        None => Ok(()),
    }
}

fn submission(sbatch: &Path, args: &RunArgs, script: &Script, options: &Request) -> Result<Submission, Failure> {
    let program = std::env::current_exe().map_err(|e| Failure::not_started(format!("/proc/self/exe: {e}")))?;
    let mut words = vec![program.display().to_string(), "run".into(), "--no-submit".into()];
    words.extend(given(args, options));
    words.push(script.path.display().to_string());
    words.extend(args.command.iter().skip(1).cloned());
    // What is no text would become another path.
    if words.iter().any(|word| word.contains(char::REPLACEMENT_CHARACTER)) {
        return Err(Failure::not_started("a path is not UTF-8, so it cannot be written into a job script"));
    }
    let command = words.iter().map(|word| quoted(word)).collect::<Result<Vec<_>, _>>()?.join(" ");
    let mut lines = vec!["#!/bin/sh".to_string(), format!("#SBATCH --job-name={}", job_name(&script.path))];
    lines.extend(script.header.directives.iter().cloned());
    lines.push(format!("exec {command}\n"));
    let sbatch = [sbatch.display().to_string(), "--parsable".into()];
    Ok(Submission { argv: sbatch.into_iter().chain(args.sbatch.iter().cloned()).collect(), script: lines.join("\n") })
}

/// A word for the shell. No line of it begins with the word's own text, which could look like a `#DEP:` line of the job script.
fn quoted(word: &str) -> Result<String, Failure> {
    if word.contains('\n') {
        return Ok(format!("'{}'", word.replace('\'', r"'\''").replace('\n', "\n''")));
    }
    shlex::try_quote(word).map(String::from).map_err(Failure::not_started)
}

/// The options as they were given, paths absolute: a job may start somewhere else.
fn given(args: &RunArgs, options: &Request) -> Vec<String> {
    let flags = [
        ("--quiet", say::is_quiet()),
        ("--verbose", say::is_verbose()),
        ("--module", args.module),
        ("--writable", options.write),
        ("--tmp", options.tmp),
        ("--fakeroot", options.fakeroot == Some(true)),
        ("--no-fakeroot", options.fakeroot == Some(false)),
    ];
    let mut words: Vec<String> = flags.iter().filter(|(_, given)| *given).map(|(flag, _)| (*flag).into()).collect();
    let mut add = |option: &str, value: String| words.push(format!("{option}={value}"));
    options.layers.iter().for_each(|layer| add("--overlay", layer.to_string()));
    options.mounts.iter().for_each(|mounts| add("--mounts", mounts.name().into()));
    options.scratch.iter().for_each(|scratch| add("--scratch", scratch.to_string()));
    options.wait.iter().for_each(|wait| add("--wait", wait.to_string()));
    options.base.iter().for_each(|base| add("--base", base.display().to_string()));
    options.bind.iter().for_each(|bind| add("--bind", bind.to_string()));
    options.env.iter().for_each(|(name, value)| add("--env", format!("{name}={value}")));
    options.workdir.iter().for_each(|dir| add("--pwd", dir.display().to_string()));
    words
}

/// The script's name, as sbatch would use it, in characters that need no quotes. A line of the script's own wins over it.
fn job_name(script: &Path) -> String {
    let name = script.file_name().unwrap_or_default().to_string_lossy();
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "._+".contains(c) { c } else { '_' }).collect()
}

impl Submission {
    fn to_shell(&self) -> String {
        let argv = shell_words(&self.argv);
        format!("{argv} << 'END OF SCRIPT'\n{}END OF SCRIPT", self.script)
    }
}

fn hand_over(submission: &Submission, script: &Path) -> Result<ExitCode, Failure> {
    let failed = |e: std::io::Error| Failure::not_started(format!("sbatch: {e}"));
    let (program, arguments) = submission.argv.split_first().unwrap_or((&submission.script, &[]));
    let mut command = Command::new(program);
    // It names layers for the script, which the job gets as options; the job itself starts us, and so stays outside.
    command.env_remove(defaults::VARIABLE);
    let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        // If sbatch refuses its options before it reads, it says so itself.
        let _ = input.write_all(submission.script.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    let answer = String::from_utf8_lossy(&output.stdout);
    // `JOB[;CLUSTER]`; with --wait the exit code is the job's own.
    match answer.trim().split(';').next().filter(|id| !id.is_empty()) {
        Some(id) => {
            print::text(id)?;
            say::notice(&format!("submitted job {id}: {}", script.display()));
            Ok(exit_code(output.status.code().unwrap_or(1)))
        }
        None if output.status.success() => Ok(ExitCode::SUCCESS),
        None => Err(Failure::not_started(format!(
            "sbatch did not take {}; its own message is above; --dry-run shows what it was given",
            script.display()
        ))),
    }
}
