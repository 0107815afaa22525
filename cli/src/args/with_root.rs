//! Arguments of `overlay with-root`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use super::StartArgs;
use crate::complete;

#[derive(Debug, Args)]
pub(crate) struct WithRootArgs {
    /// The image
    #[arg(value_name = "IMG", add = ArgValueCompleter::new(complete::images))]
    pub(crate) image: PathBuf,
    /// A layer below the image: PATH or NAME[:ro], lowest first; a list, repeatable
    #[arg(short, long = "overlay", value_name = "LAYER", add = ArgValueCompleter::new(complete::layers))]
    pub(crate) overlays: Vec<String>,
    #[command(flatten)]
    pub(crate) start: StartArgs,
    /// The command and its arguments; without one, a shell
    #[arg(last = true, value_name = "COMMAND", value_hint = clap::ValueHint::CommandWithArguments)]
    pub(crate) command: Vec<String>,
}
