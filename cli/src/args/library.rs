//! Arguments of the verbs about layers that are found by name: `list`, `info`, `remove`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use crate::complete;

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only names that contain each of these; * and ? stand for anything
    #[arg(value_name = "TERM")]
    pub(crate) terms: Vec<String>,
    /// Also say what each is for, which opens every file
    #[arg(short, long)]
    pub(crate) whatis: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LayerInfoArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Also look for whiteouts, the marks of deleted files; takes a look at every directory in an image
    #[arg(long)]
    pub(crate) scan: bool,
    /// A layer: its name or its path
    #[arg(value_name = "LAYER", add = ArgValueCompleter::new(complete::layers))]
    pub(crate) layer: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Layers: names (* and ? stand for anything) or paths
    #[arg(value_name = "LAYER", required = true, add = ArgValueCompleter::new(complete::layers))]
    pub(crate) layers: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct JoinArgs {
    /// A job, and its step where it has several containers on this node; or an image, or a process that is in the container
    #[arg(value_name = "IMAGE|PID|JOB[.STEP]", add = ArgValueCompleter::new(complete::layers))]
    pub(crate) container: String,
    /// What to run; a shell if nothing is given
    #[arg(trailing_var_arg = true)]
    pub(crate) command: Vec<String>,
}
