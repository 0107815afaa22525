//! `condatainer doctor`: whether containers can start on this machine, and what to do where they cannot.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use clap::Args;
use clap::builder::PossibleValuesParser;
use condatainer_core::doctor::{self, Check, IDS, Report, Request, Status};
use condatainer_images::system::escape::one_line;
use condatainer_images::temporary::on_signal;

use crate::say::failure::{Code, Failure};
use crate::say::print;

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// For the health check of a node: only what is the machine's and not yours, and a line for what failed only
    #[arg(long, conflicts_with = "start")]
    pub(crate) node: bool,
    /// Also start a container from the configured base, and say how long it took
    #[arg(long)]
    pub(crate) start: bool,
    /// Leave a check out; repeatable
    #[arg(long, value_name = "CHECK", value_parser = PossibleValuesParser::new(IDS), hide_possible_values = true)]
    pub(crate) skip: Vec<String>,
    /// Directories or images: do locks work where they lie? The working directory, if none is named
    #[arg(value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    pub(crate) places: Vec<PathBuf>,
}

/// Room for how a check came out, and for its name.
const STATUS_WIDTH: usize = 9;
const ID_WIDTH: usize = 17;

pub(crate) fn doctor(args: &DoctorArgs) -> Result<ExitCode, Failure> {
    if !args.start {
        on_signal::remove_on_signals().map_err(Failure::failed)?;
    }
    let report = doctor::examine(&request(args)?).map_err(Failure::failed)?;
    match (args.json, args.node) {
        (true, _) => print::json(&report)?,
        (false, true) => print::styled(&failures(&report))?,
        (false, false) => print::styled(&text(&report))?,
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::from(Code::Failed as u8) })
}

fn request(args: &DoctorArgs) -> Result<Request, Failure> {
    let cwd = std::env::current_dir()
        .map_err(|error| Failure::failed(format!("the working directory cannot be used: {error}")));
    let places: Vec<PathBuf> = match args.places.as_slice() {
        // Where slurmd stands is nothing to a node.
        [] if args.node => Vec::new(),
        [] => vec![cwd?],
        places => {
            let cwd = cwd?;
            places.iter().map(|path| cwd.join(path)).collect()
        }
    };
    let env = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect();
    Ok(Request { places, node: args.node, skip: args.skip.clone(), start: args.start, env })
}

fn text(report: &Report) -> String {
    let bold = Style::new().bold();
    let mut text = String::new();
    let mut group = None;
    for check in report.checks.iter().filter(|check| !is_unasked(check)) {
        if group.replace(check.group) != Some(check.group) {
            let _ = writeln!(text, "{bold}{}{bold:#}", check.group.name());
        }
        let (word, style) = shown(check.status);
        let _ = writeln!(text, "  {style}{word:<STATUS_WIDTH$}{style:#}{:<ID_WIDTH$}{}", check.id, found(check));
    }
    let _ = writeln!(text, "{}", summary(report));
    text
}

/// Nobody needs to be told that he did not ask for something.
fn is_unasked(check: &Check) -> bool {
    check.id == "start" && check.status == Status::Skipped
}

fn failures(report: &Report) -> String {
    let failed = report.checks.iter().filter(|check| check.status == Status::Failed);
    failed.fold(String::new(), |mut text, check| {
        let _ = writeln!(text, "{}: {}", check.id, found(check));
        text
    })
}

fn found(check: &Check) -> String {
    let cure = check.cure.as_ref().map(|cure| format!(" -> {cure}")).unwrap_or_default();
    one_line(&format!("{}{cure}", check.found))
}

fn shown(status: Status) -> (&'static str, Style) {
    match status {
        Status::Ok => ("ok", AnsiColor::Green.on_default()),
        Status::Warning => ("warning", AnsiColor::Yellow.on_default()),
        Status::Failed => ("not ok", AnsiColor::Red.on_default()),
        Status::Skipped => ("-", Style::new()),
    }
}

fn summary(report: &Report) -> String {
    let (failed, warnings) = (report.count(Status::Failed), report.count(Status::Warning));
    let plural = |count: usize, one: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") };
    let rest = format!("{} ok, {}", report.count(Status::Ok), plural(warnings, "warning"));
    match failed {
        0 => format!("containers can start here: {rest}"),
        failed => format!("{} failed: {rest}", plural(failed, "check")),
    }
}
