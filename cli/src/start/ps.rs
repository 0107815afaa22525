//! `condatainer ps`: the containers on this machine that can be joined.

use std::process::ExitCode;

use anstyle::Style;
use clap::Args;
use condatainer_core::join::running::{self, RunningContainer};
use condatainer_images::system::escape::one_line;

use crate::say::failure::Failure;
use crate::say::print;

#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn ps(args: &PsArgs) -> Result<ExitCode, Failure> {
    let found = running::all();
    print::report(args.json, &found, || text(&found))?;
    Ok(ExitCode::SUCCESS)
}

fn text(found: &[RunningContainer]) -> String {
    let (bold, plain) = (Style::new().bold(), Style::new().bold().render_reset());
    let line = |name: &str, user: &str, processes: &str, layers: &str| {
        format!("{name:<14} {user:<12} {processes:>9}  {layers}\n")
    };
    let head = format!("{bold}{}{plain}", line("NAME", "USER", "PROCESSES", "LAYERS").trim_end());
    let lines = found.iter().map(|kept| {
        let processes = if kept.first.is_some() { kept.processes.len().to_string() } else { "starting".into() };
        line(&one_line(&kept.name()), &one_line(&kept.user), &processes, &one_line(&kept.layers.join(",")))
    });
    std::iter::once(head + "\n").chain(lines).collect()
}
