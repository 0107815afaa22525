//! Everything `unsafe` of the plugin: the symbols that Slurm looks up, the calls into Slurm, and the process environment.
//!
//! `callbacks` is the entry. `keeper` starts a step's container and ends it, `ending` sets srun's exit code, `task` asks Slurm about a
//! step and its tasks, `submitter` has the submitting process's own environment and command line, `guard` catches panics.

mod abi;
mod callbacks;
mod ending;
#[cfg(test)]
mod fake_slurm;
mod guard;
mod identity;
mod keeper;
mod log;
mod state;
mod submitter;
mod task;
