//! Arguments of `doctor`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;
use condatainer_core::doctor::IDS;

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
