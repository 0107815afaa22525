//! Arguments of `overlay with-root`.

use std::path::PathBuf;

use clap::Args;

use super::StartArgs;

#[derive(Debug, Args)]
pub(crate) struct WithRootArgs {
    /// The image
    #[arg(value_name = "IMG", value_hint = clap::ValueHint::FilePath)]
    pub(crate) image: PathBuf,
    /// A layer below the image: PATH[:ro], lowest first; a list, repeatable
    #[arg(short, long = "overlay", value_name = "LAYER", value_hint = clap::ValueHint::FilePath)]
    pub(crate) overlays: Vec<String>,
    #[command(flatten)]
    pub(crate) start: StartArgs,
    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "COMMAND", value_hint = clap::ValueHint::CommandWithArguments)]
    pub(crate) command: Vec<String>,
}
