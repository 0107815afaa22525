//! What the plugin needs of the Slurm process that loaded it, as traits: the real ones are in [`crate::ffi`], tests have their own.

use condatainer_core::request::Part;

/// Where the plugin was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Context {
    /// srun
    Local,
    /// sbatch or salloc
    Allocator,
    /// slurmstepd
    Remote,
    /// slurmd, prolog, epilog: nothing to do there.
    Elsewhere,
}

/// Which process of a job a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A part of the job that the user's request is about.
    Part(Part),
    /// The step that Slurm itself keeps for adopted processes.
    External,
}

/// The submitting process.
pub(crate) trait Submitter {
    /// A variable of this process.
    fn variable(&self, name: &str) -> Option<String>;
    /// Sets or, with `None`, removes a variable that the job will inherit.
    fn set_variable(&mut self, name: &str, value: Option<&str>);
}

/// A variable of the step's environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Variable {
    /// It is not set.
    Missing,
    /// It is set to this.
    Set(String),
    /// Longer than anything we write, or not text.
    Unusable,
}

/// A task about to start, in its own process and as its user.
pub(crate) trait Task {
    /// Which process of the job this is.
    fn step(&self) -> Step;
    /// Nodes of the step, or of the component of a heterogeneous step that this task belongs to.
    fn node_count(&self) -> u32;
    /// A variable of the task.
    fn variable(&self, name: &str) -> Variable;
    /// The task's program; for a batch script, the script's file on this node.
    fn program(&self) -> Option<String>;
    /// The descriptor over which the task's command can ask the keeper of the step's container, if there is one.
    fn channel(&mut self) -> Option<i32>;
    /// Puts words in front of the task's command.
    ///
    /// # Errors
    /// Slurm refused, with its reason.
    fn prepend(&mut self, words: &[String]) -> Result<(), String>;
}
