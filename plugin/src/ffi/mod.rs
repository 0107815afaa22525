//! Everything `unsafe` of the plugin: the symbols that Slurm looks up, the calls into Slurm, and the process environment.

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
