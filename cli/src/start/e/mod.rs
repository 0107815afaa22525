//! `condatainer e`: work in an image, by default in the workspace's own, by default in a shell.

mod first_line;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use condatainer_core::config::SYSTEM_FILE;
use condatainer_core::plan::Plan;
use condatainer_core::request::Request;
use condatainer_core::request::layer::{Layer, Mode};
use condatainer_images::image::{self, Kind};
use condatainer_images::system::escape::shell_words;
use condatainer_images::trust::strangers_directory;
use condatainer_images::verbs::seal;
use first_line::Images;

use crate::complete::candidates;
use crate::say;
use crate::say::failure::Failure;
use crate::start::args::StartArgs;
use crate::start::container;
use crate::start::container::command;
use crate::surroundings::Surroundings;

#[derive(Debug, Args)]
pub(crate) struct EditArgs {
    /// Layers: PATH or NAME[:ro|:rw|:tmp], lowest first; the workspace's env.img is added if no image is named
    #[arg(value_name = "LAYER", add = ArgValueCompleter::new(candidates::layers))]
    pub(crate) layers: Vec<String>,
    /// Read only
    #[arg(short, long)]
    pub(crate) read_only: bool,
    /// Write to no image: what is written is gone at the end
    #[arg(long, conflicts_with = "read_only")]
    pub(crate) tmp: bool,
    /// Do not add the workspace's env.img
    #[arg(short, long)]
    pub(crate) no_autoload: bool,
    /// A command instead of a shell
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
    #[command(flatten)]
    pub(crate) start: StartArgs,
}

/// Where the image of a workspace lies, the nearest first; as in the original CondaTainer.
const WORKSPACES: [&str; 3] = ["", "overlay", "src/overlay"];

pub(crate) fn edit(args: EditArgs) -> Result<ExitCode, Failure> {
    let around = Surroundings::look(Path::new(SYSTEM_FILE))?;
    let layers = around.layers(&args.layers).map_err(|failure| command_as_layer(&around, &args, failure))?;
    let mut layers = around.layers_or_default(layers)?;
    let named = layers.iter().rfind(|layer| is_image(layer)).map(|layer| layer.path.clone());
    let wants_workspace = !args.no_autoload && named.is_none();
    let found = if wants_workspace { workspace(&around, layers.is_empty() && !args.tmp)? } else { None };
    layers.extend(found.clone().map(|path| Layer { named: true, ..Layer::at(path) }));
    let keeps = if args.tmp { Some("--tmp") } else { args.read_only.then_some("-r") };
    if let Some((option, written)) = keeps.zip(layers.iter().find(|layer| layer.mode == Some(Mode::Rw))) {
        let path = written.path.display();
        return Err(Failure::usage(format!("{option}: {path} has the mode :rw: leave one of them out")));
    }
    let write = keeps.is_none() && layers.iter().any(|layer| layer.mode.is_none() && is_image(layer));
    let request = Request { layers, write, tmp: args.tmp, ..around.request(&args.start)? };
    let command = command(&around, args.command);
    let images = Images { named, found, cwd: &around.cwd };
    match args.start.dry_run {
        Some(format) => container::show(&around.preview(&request, command, None)?, format),
        None => around.carry_out(&request, &command, |plan| {
            say::notice(&images.first_line(&plan.stack));
            let code = container::run_at_prompt(plan)?;
            advise(plan, args.start.base.is_some());
            Ok(code)
        }),
    }
}

/// Where a command was given like a layer: how it is given.
fn command_as_layer(around: &Surroundings, args: &EditArgs, failure: Failure) -> Failure {
    let is_layer = |written: &String| around.layers(std::slice::from_ref(written)).is_ok();
    let count = args.layers.iter().take_while(|written| is_layer(written)).count();
    let (layers, command) = args.layers.split_at(count);
    if layers.is_empty() || command.is_empty() || !args.command.is_empty() {
        return failure;
    }
    let line = format!("condatainer e {} -- {}", shell_words(layers), shell_words(command));
    Failure::not_started(format!("{}; a command comes after '--': '{line}'", failure.message()))
}

/// After work in an image: whether it would be better sealed.
fn advise(plan: &Plan, base_was_named: bool) {
    let Some(image) = plan.holds.as_ref().filter(|_| std::io::stderr().is_terminal()) else { return };
    let below: Vec<PathBuf> = plan.below(image).into_iter().skip(1).collect();
    if let Some(line) = seal::advice(image, base_was_named.then_some(plan.base.as_path()), &below) {
        say::notice(&line);
    }
}

/// The image of this workspace. Layers alone are worth a start too, but nothing at all is a mistake.
fn workspace(around: &Surroundings, is_needed: bool) -> Result<Option<PathBuf>, Failure> {
    let user = around.env.get("USER").filter(|user| !user.is_empty() && !user.contains('/'));
    let found = candidates(&around.cwd, user.map(String::as_str)).find(|path| path.is_file());
    match found {
        Some(path) => match strangers_directory(&around.cwd, &path) {
            Some(why) => Err(Failure::not_started(why)),
            None => Ok(Some(path)),
        },
        None if is_needed => {
            let path = around.cwd.join("env.img");
            let message = format!("{}: no such image: 'condatainer o' makes it, -n goes on without", path.display());
            Err(Failure::not_started(message))
        }
        None => Ok(None),
    }
}

/// `env-USER.img`, for workspaces that several people share, before `env.img`, in each place.
fn candidates(cwd: &Path, user: Option<&str>) -> impl Iterator<Item = PathBuf> {
    let names: Vec<String> = user.map(|user| format!("env-{user}.img")).into_iter().chain(["env.img".into()]).collect();
    let cwd = cwd.to_owned();
    WORKSPACES.into_iter().flat_map(move |place| {
        let dir = if place.is_empty() { cwd.clone() } else { cwd.join(place) };
        names.clone().into_iter().map(move |name| dir.join(name))
    })
}

/// Whether a layer can be written to. One that cannot be read is reported by the survey, with its reason.
fn is_image(layer: &Layer) -> bool {
    image::identify(&layer.path).is_ok_and(|image| !matches!(image.kind, Kind::Squashfs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_workspace_first() {
        let found: Vec<_> = candidates(Path::new("/w"), Some("bob")).map(|p| p.display().to_string()).collect();
        let expected = [
            "/w/env-bob.img",
            "/w/env.img",
            "/w/overlay/env-bob.img",
            "/w/overlay/env.img",
            "/w/src/overlay/env-bob.img",
            "/w/src/overlay/env.img",
        ];
        assert_eq!(found, expected);
        assert_eq!(candidates(Path::new("/w"), None).count(), 3);
    }
}
