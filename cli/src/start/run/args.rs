//! Arguments of `run`.

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use crate::complete::candidates;
use crate::start::args::StartArgs;

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// A layer on top of those that the script names: PATH or NAME[:ro|:rw|:tmp]; a list, repeatable
    #[arg(short, long = "overlay", value_name = "LAYER", add = ArgValueCompleter::new(candidates::layers))]
    pub(crate) overlays: Vec<String>,
    /// Write to the last image that has no mode of its own
    #[arg(short, long, alias = "writable-img")]
    pub(crate) writable: bool,
    /// Make everything writable for this run; what is written is gone at its end
    #[arg(long, conflicts_with = "writable")]
    pub(crate) tmp: bool,
    /// Take 'module load' and 'ml' lines for dependencies too, and make them do nothing inside
    #[arg(long)]
    pub(crate) module: bool,
    /// Run right here, even with #SBATCH lines
    #[arg(long, conflicts_with = "sbatch")]
    pub(crate) no_submit: bool,
    /// Submit, with one more option for sbatch: --sbatch=--mem=16G; repeatable
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
    pub(crate) sbatch: Vec<String>,
    /// The script and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "SCRIPT", value_hint = clap::ValueHint::FilePath)]
    pub(crate) command: Vec<String>,
    #[command(flatten)]
    pub(crate) start: StartArgs,
}
