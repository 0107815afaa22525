//! Arguments of what the SPANK plugin runs: in front of a task, and as the keeper of a step's container.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct TaskArgs {
    /// Which part of the job this is
    #[arg(long, value_enum)]
    pub(crate) part: TaskPart,
    /// The command is a script with lines of ours that nobody has read yet
    #[arg(long)]
    pub(crate) script: bool,
    /// The descriptor by which the keeper of the step's container can be asked
    #[arg(long)]
    pub(crate) channel: Option<i32>,
    /// The system configuration
    #[arg(long)]
    pub(crate) config: Option<PathBuf>,
    /// The task's command
    #[arg(required = true, last = true)]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct KeepArgs {
    /// Which part of the job this is
    #[arg(long, value_enum)]
    pub(crate) part: TaskPart,
    /// The system configuration
    #[arg(long)]
    pub(crate) config: Option<PathBuf>,
    /// The batch script
    #[arg(last = true)]
    pub(crate) script: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TaskPart {
    Batch,
    Step,
}
