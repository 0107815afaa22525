//! The step container: the one container of a Slurm step on a node, shared by the step's tasks.
//!
//! A [`keeper`], started by the plugin before the tasks and outside of what Slurm signals, starts the container and ends it when the
//! step ends. Every task asks it over a [`channel`] and then [joins](crate::join): it enters the container's namespaces and becomes
//! the command, so that signals, exit codes, limits, terminals and accounting are the task's own. The [`warden`] ends what a keeper
//! leaves, and the [`relay`] lets those in the container call Slurm's commands. The [`limits`] of the tasks are also the keeper's. srun
//! looks at the images before and after a step, and says where what the tasks wrote may be lost ([`lost_writes`]). What the administrator
//! has written for the plugin are its [arguments](plugin_arguments).

pub mod channel;
pub mod keeper;
pub mod limits;
pub mod lost_writes;
pub mod plugin_arguments;
pub mod relay;
pub mod warden;
