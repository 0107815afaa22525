//! `condatainer exec`: one command, or a shell, in a stack of layers.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use condatainer_core::config::SYSTEM_FILE;
use condatainer_core::request::Request;
use condatainer_images::image::{self, Kind};
use condatainer_images::system::escape::shell_words;

use crate::complete::candidates;
use crate::say::failure::Failure;
use crate::start::args::StartArgs;
use crate::start::container::command;
use crate::surroundings::Surroundings;

#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// A layer: PATH or NAME[:ro|:rw|:tmp], lowest first; a list, repeatable
    #[arg(short, long = "overlay", value_name = "LAYER", add = ArgValueCompleter::new(candidates::layers))]
    pub(crate) overlays: Vec<String>,
    /// Write to the last image that has no mode of its own
    #[arg(short, long, alias = "writable-img")]
    pub(crate) writable: bool,
    /// Make everything writable for this run; what is written is gone at its end
    #[arg(long, conflicts_with = "writable")]
    pub(crate) tmp: bool,
    /// The command and its arguments; without one, a shell
    #[arg(trailing_var_arg = true, value_name = "COMMAND", value_hint = clap::ValueHint::CommandWithArguments)]
    pub(crate) command: Vec<String>,
    #[command(flatten)]
    pub(crate) start: StartArgs,
}

pub(crate) fn exec(args: ExecArgs) -> Result<ExitCode, Failure> {
    let around = Surroundings::look(Path::new(SYSTEM_FILE))?;
    if let Some(hint) = image_as_command(&around.cwd, &args.command) {
        return Err(Failure::not_started(hint));
    }
    let request = Request {
        layers: around.layers_or_default(around.layers(&args.overlays)?)?,
        write: args.writable,
        tmp: args.tmp,
        ..around.request(&args.start)?
    };
    around.start(request, command(&around, args.command), args.start.dry_run)
}

/// Where the command begins with an image: what was probably meant.
fn image_as_command(cwd: &Path, command: &[String]) -> Option<String> {
    let (first, rest) = command.split_first()?;
    let image = image::identify(&cwd.join(first)).ok()?;
    let is_layer = matches!(image.kind, Kind::Squashfs | Kind::Ext(_));
    let rest = if rest.is_empty() { String::new() } else { format!(" {}", shell_words(rest)) };
    is_layer.then(|| format!("{first}: is an image, not a command: 'condatainer exec -o {first}{rest}'"))
}
