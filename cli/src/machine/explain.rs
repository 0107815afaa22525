//! `condatainer explain`: what a job ran in, or which containers an image was in, from the record of use.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anstyle::Style;
use clap::Args;
use condatainer_core::config::SYSTEM_FILE;
use condatainer_core::record::entry::{End, File, Start, Written};
use condatainer_core::record::read::{self, Container, Question};
use condatainer_formats::size::Size;
use condatainer_images::system::escape::one_line;

use crate::say::failure::Failure;
use crate::say::print;
use crate::surroundings::Surroundings;

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// A job (7), a step of it (7.0, 7.batch), a part of an array (5_3), or an image or layer
    #[arg(value_name = "JOB|IMAGE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) what: String,
}

pub(crate) fn explain(args: &ExplainArgs) -> Result<ExitCode, Failure> {
    let around = Surroundings::look(Path::new(SYSTEM_FILE)).map_err(Failure::of_a_verb)?;
    let log = around.config.log.as_ref().ok_or_else(|| {
        Failure::failed("this site keeps no record of use: an administrator sets 'log' in /etc/condatainer/config.toml")
    })?;
    let question = question(&args.what, &around).map_err(Failure::of_a_verb)?;
    let found = read::containers(log, &question, nix::unistd::geteuid().as_raw()).map_err(Failure::failed)?;
    if found.is_empty() {
        let whose = if nix::unistd::geteuid().is_root() { "" } else { " of yours" };
        return Err(Failure::failed(format!("{}: the record ({log}) has no container{whose}", args.what)));
    }
    print::report(args.json, &found, || text(&found))?;
    Ok(ExitCode::SUCCESS)
}

/// What begins with a digit and has nothing that belongs to a path is a job, unless such a file is there.
fn question(what: &str, around: &Surroundings) -> Result<Question, Failure> {
    let is_job = what.starts_with(|c: char| c.is_ascii_digit()) && !what.contains('/');
    if is_job && !around.cwd.join(what).exists() {
        let (job, step) = what.split_once('.').map_or((what, None), |(job, step)| (job, Some(step)));
        return Ok(Question::Job(job.into(), step.map(String::from)));
    }
    let path =
        around.layers(&[what.into()])?.into_iter().next().map_or_else(|| around.cwd.join(what), |layer| layer.path);
    let path: PathBuf = path.canonicalize().unwrap_or(path);
    let uuid = File::at(&path).uuid;
    Ok(Question::Image(path, uuid))
}

fn text(found: &[Container]) -> String {
    let mut text = String::new();
    for (number, container) in found.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        one(&mut text, &container.start, container.end.as_ref());
    }
    text
}

fn one(text: &mut String, start: &Start, end: Option<&End>) {
    let bold = Style::new().bold();
    let head = &start.head;
    let part = match (&head.job, &head.step) {
        (Some(job), Some(step)) => format!("job {job}, step {step}"),
        (Some(job), None) => format!("job {job}"),
        _ => "outside of Slurm".into(),
    };
    let array = head.array.as_ref().map_or_else(String::new, |array| format!(" ({array})"));
    let title = one_line(&format!("{part}{array}: {} on {}", head.user, head.host));
    let _ = writeln!(text, "{bold}{title}{bold:#}");
    let _ = writeln!(text, "  from    {}", one_line(&head.time));
    let _ = writeln!(text, "  to      {}", one_line(&end.map_or_else(|| "no end was noted".into(), ended)));
    let _ = writeln!(text, "  base    {}", one_line(&file(&start.base)));
    for layer in &start.layers {
        let _ = writeln!(text, "  layer   {}", one_line(&file(layer)));
    }
    let tmp = if start.tmp { ", writes were kept for this run only" } else { "" };
    let root = if start.fakeroot { ", as root inside (fakeroot)" } else { "" };
    let _ = writeln!(
        text,
        "  mounts  {}",
        one_line(&format!("by {}, engine {}{root}{tmp}", start.mounts, start.engine.display()))
    );
}

fn ended(end: &End) -> String {
    let how = match (end.exit, end.signal) {
        (Some(code), _) => format!(", exit code {code}"),
        (None, Some(signal)) => format!(", ended by signal {signal}"),
        (None, None) => String::new(),
    };
    let written = match end.written {
        Written::Kept => "",
        Written::Lost => ", what was written last may be lost",
        Written::Unserved => ", the layers could not be served to the end",
    };
    format!("{}{how}{written}", end.head.time)
}

/// The file as it was, and whether it still is.
fn file(file: &File) -> String {
    let mode = file.mode.as_ref().map_or_else(String::new, |mode| format!(":{mode}"));
    let size = file.size.map(|size| Size(size).to_string());
    let uuid = file.uuid.as_ref().map(|uuid| format!("uuid {uuid}"));
    let facts: Vec<String> = [file.kind.clone(), size, file.date.clone(), uuid].into_iter().flatten().collect();
    let now = File::at(&file.path);
    let state = match () {
        () if now.kind.is_none() => "not there now",
        () if file.is_still(&now) => "still the same",
        () => "has changed since",
    };
    format!("{}{mode}  {}; {state}", file.path.display(), facts.join(", "))
}
