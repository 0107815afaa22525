//! Arguments of `overlay check`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCompleter;

use crate::complete;

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Repair: what loses nothing, or with =force the rest too
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "safe")]
    pub(crate) fix: Option<FixArg>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// The image
    #[arg(value_name = "IMG", add = ArgValueCompleter::new(complete::images))]
    pub(crate) image: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FixArg {
    /// Only what loses nothing
    Safe,
    /// Everything, on a copy; files may end in lost+found or lose their content. The image is kept as IMG.damaged
    Force,
}
