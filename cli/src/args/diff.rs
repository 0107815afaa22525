//! Arguments of `overlay diff`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use crate::complete;

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The base image that it is used on: a .sif, a .sqf or a directory [env: CONDATAINER_BASE]
    #[arg(short, long, value_name = "IMAGE", add = ArgValueCompleter::new(complete::bases))]
    pub(crate) base: Option<PathBuf>,
    /// A layer between base and image, lowest first; a list, repeatable
    #[arg(short, long = "overlay", value_name = "LAYER", add = ArgValueCompleter::new(complete::layers))]
    pub(crate) overlays: Vec<String>,
    /// Sums by directory instead of single files
    #[arg(long)]
    pub(crate) summary: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// The image
    #[arg(value_name = "IMG", add = ArgValueCompleter::new(complete::images))]
    pub(crate) image: PathBuf,
}
