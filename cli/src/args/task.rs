//! Arguments of what the SPANK plugin puts in front of a task.

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
    /// The system configuration
    #[arg(long)]
    pub(crate) config: Option<PathBuf>,
    /// The task's command
    #[arg(required = true, last = true)]
    pub(crate) command: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TaskPart {
    Batch,
    Step,
}
