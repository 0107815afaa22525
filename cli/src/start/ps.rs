//! `condatainer ps`: the containers on this machine that can be joined.

use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
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
    let bold = Style::new().bold();
    let head = format!("{bold}{:<14} {:<12} {:>9}  LAYERS{bold:#}\n", "NAME", "USER", "PROCESSES");
    std::iter::once(head).chain(found.iter().map(line)).collect()
}

/// A container that can be joined has a name in colour, and a layer that is written to stands out.
fn line(kept: &RunningContainer) -> String {
    let (own, dim, written) =
        (AnsiColor::Cyan.on_default(), AnsiColor::BrightBlack.on_default(), AnsiColor::Yellow.on_default());
    let name = if kept.is_own() { own } else { dim };
    let processes = if kept.first.is_some() { kept.processes.len().to_string() } else { "starting".into() };
    let layer = |layer: &String| {
        let style = if layer.ends_with(":rw") { written } else { Style::new() };
        format!("{style}{}{style:#}", one_line(layer))
    };
    let layers: Vec<String> = kept.layers.iter().map(layer).collect();
    format!(
        "{name}{:<14}{name:#} {:<12} {processes:>9}  {}\n",
        one_line(&kept.name()),
        one_line(&kept.user),
        layers.join(",")
    )
}
