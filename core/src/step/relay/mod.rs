//! Slurm's commands for programs in a step's container: a script that calls `srun` needs no Slurm in its image.
//!
//! The container shows a directory of the node with a link of the name of every such command. Behind the links is the relay
//! (`programs/relay/`), which connects to the keeper; the keeper starts a process for each of these calls ([`slurm_command`]), and that runs
//! the command as if the container were not there. An abstract address leads to the keeper: it is in no file system, and only
//! the user's own processes in the container are answered.

pub mod server;
pub mod slurm_command;

pub use condatainer_programs::RELAY;
