//! `condatainer e`: work in an image, by default in `./env.img`, by default in a shell.

use std::path::Path;
use std::process::ExitCode;

use condatainer_core::config::SYSTEM_FILE;
use condatainer_core::image::{self, Kind};
use condatainer_core::layer::Layer;
use condatainer_core::plan::Command;
use condatainer_core::request::Request;

use crate::args::EditArgs;
use crate::exit::Failure;
use crate::start::{self, Surroundings};

/// The workspace image that is taken where none is named.
const WORKSPACE: &str = "env.img";

pub(crate) fn edit(args: EditArgs) -> Result<ExitCode, Failure> {
    let around = Surroundings::look(Path::new(SYSTEM_FILE))?;
    let mut layers = around.layers(&args.layers)?;
    if !args.no_autoload && !layers.iter().any(is_image) {
        layers.push(workspace(&around.cwd)?);
    }
    let write = !args.read_only && layers.iter().any(|layer| layer.mode.is_none() && is_image(layer));
    let request = Request { layers, write, ..around.request(&args.start)? };
    let plan = around.plan(request, command(&around, args.command))?;
    match args.start.dry_run {
        Some(format) => start::show(&plan, format),
        None => start::run_at_prompt(&plan, around.holder(None)),
    }
}

fn workspace(cwd: &Path) -> Result<Layer, Failure> {
    let path = cwd.join(WORKSPACE);
    if path.exists() {
        return Ok(Layer { path, mode: None });
    }
    let message = format!("{}: no such image: 'condatainer o' makes it, -n goes on without", path.display());
    Err(Failure::not_started(message))
}

/// Whether a layer can be written to. One that cannot be read is reported by the survey, with its reason.
fn is_image(layer: &Layer) -> bool {
    image::identify(&layer.path).is_ok_and(|image| !matches!(image.kind, Kind::Squashfs))
}

fn command(around: &Surroundings, command: Vec<String>) -> Command {
    if command.is_empty() { Command::Shell(around.env.get("SHELL").map(Into::into)) } else { Command::Argv(command) }
}
