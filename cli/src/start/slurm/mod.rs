//! What Slurm's plugin and the keeper of a step's container call: a task in its container ([`task`]), the keeper itself ([`keep`]), and
//! Slurm's own commands outside of the container ([`command`]).

pub(crate) mod command;
pub(crate) mod keep;
pub(crate) mod task;
