//! The step container: the one container of a Slurm step on a node, shared by the step's tasks.
//!
//! A keeper, started by the plugin before the tasks and outside of what Slurm signals, starts the container ([`crate::run::keep`])
//! and ends it when the step ends. Every task asks it over a [`channel`] and then [`join`]s: it enters the container's namespaces
//! and becomes the command, so that signals, exit codes, limits, terminals and accounting are the task's own.

pub mod channel;
mod environment;
pub mod join;
pub mod kept;
pub mod limits;
pub(crate) mod privileges;
pub mod relay;
mod system;
pub mod warden;
pub mod written;
