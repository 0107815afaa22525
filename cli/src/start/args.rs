//! Options that every start has.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCompleter;
use condatainer_core::config::{Mounts, Scratch, Wait};

use crate::complete::candidates;

/// The heading of the options that say how a start goes about it.
const HOW: &str = "How it starts";

/// Options that every start has.
#[derive(Debug, Args)]
#[command(next_help_heading = "The container")]
pub(crate) struct StartArgs {
    /// Run as root inside (automatic when an image belongs to root)
    #[arg(short, long, overrides_with = "no_fakeroot")]
    pub(crate) fakeroot: bool,
    /// Never run as root inside
    #[arg(long, overrides_with = "fakeroot")]
    pub(crate) no_fakeroot: bool,
    /// The base image: a .sif, a .sqf, a directory, or a name [env: CONDATAINER_BASE]
    #[arg(short, long, alias = "base-image", value_name = "IMAGE", add = ArgValueCompleter::new(candidates::bases))]
    pub(crate) base: Option<PathBuf>,
    /// Show a host path inside; a list, repeatable
    #[arg(long, short_alias = 'B', value_name = "SOURCE[:DEST[:ro]]")]
    pub(crate) bind: Vec<String>,
    /// As Apptainer's users type it: a container shows the machine's GPUs in any case
    #[arg(long = "nv", alias = "rocm", hide = true, overrides_with = "gpus")]
    pub(crate) gpus: bool,
    /// Set a variable inside, taken literally; repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// Start in this directory of the container
    #[arg(long, value_name = "DIR")]
    pub(crate) pwd: Option<PathBuf>,
    /// Who mounts the layers: condatainer (own), the engine, or whoever can (auto) [env: CONDATAINER_MOUNTS]
    #[arg(long, value_name = "auto|own|engine", hide_possible_values = true, help_heading = HOW)]
    pub(crate) mounts: Option<Who>,
    /// Where what :tmp and --tmp write is kept: disk, memory (half of it) or memory:SIZE [env: CONDATAINER_SCRATCH]
    #[arg(long, value_name = "WHERE", help_heading = HOW)]
    pub(crate) scratch: Option<Scratch>,
    /// Wait for an image that somebody else uses: for ever, or for a TIME such as 30s, 5m, 2h [env: CONDATAINER_WAIT]
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "yes", help_heading = HOW)]
    pub(crate) wait: Option<Wait>,
    /// Print what would run, and stop
    #[arg(
        long, value_name = "text|json", num_args = 0..=1, require_equals = true, default_missing_value = "text",
        hide_possible_values = true, help_heading = HOW
    )]
    pub(crate) dry_run: Option<DryRun>,
}

/// [`Mounts`], as an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Who {
    /// Condatainer where it can, else the engine
    Auto,
    /// Condatainer, or nothing starts
    Own,
    /// The engine
    Engine,
}

impl From<Who> for Mounts {
    fn from(who: Who) -> Self {
        match who {
            Who::Auto => Self::Auto,
            Who::Own => Self::Own,
            Who::Engine => Self::Engine,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DryRun {
    /// One command line
    Text,
    /// The whole plan
    Json,
}
