//! What is known about Slurm here.

use std::path::PathBuf;

use crate::machine::version::Version;

/// What is known about Slurm here.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Whether there is an srun.
    pub(super) here: bool,
    /// Its release, or what it complained about.
    pub(super) version: Result<Version, String>,
    /// The job and step that this runs in.
    pub(super) job: Option<(String, Option<String>)>,
    /// Whether srun's help shows our options, or what it complained about.
    pub(super) shows: Result<bool, String>,
    /// The plugstack.conf that was found.
    pub(super) plugstack: Option<PathBuf>,
    /// Our line in it.
    pub(super) line: Option<Line>,
}

/// A line of plugstack.conf, and what it leads to.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// The file that it is in: one may include others.
    pub(super) file: PathBuf,
    pub(super) required: bool,
    pub(super) plugin: PathBuf,
    /// What is wrong with the plugin's file.
    pub(super) plugin_problem: Option<String>,
    pub(super) wrapper: PathBuf,
    /// Why the wrapper cannot be run.
    pub(super) wrapper_problem: Option<String>,
    /// What is wrong with its arguments.
    pub(super) argument_problem: Option<String>,
    /// Why the configuration that it names cannot be used.
    pub(super) config_problem: Option<String>,
}
