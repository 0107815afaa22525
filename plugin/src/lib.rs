//! The SPANK plugin: lets Slurm run tasks in overlay images.
//!
//! On the submitting side (srun, sbatch, salloc) it reads the options, checks the images and puts one canonical value into the
//! job's environment. On the node it puts the `condatainer` program in front of each task's command; everything else happens
//! in that program, as the user. So the plugin is small, has no threads, writes nothing to stdout, and fails closed: a task
//! that was to run in a container never runs outside of one.
//!
//! `options` and `given` collect options, `script` finds the batch script, `submit` is the submitting side, and `node` the node's.
//!
//! `unsafe` lives in `ffi` alone. The rest is generic over the traits in `host` and tested without Slurm.

mod ffi;
mod given;
mod host;
mod node;
mod options;
mod script;
mod submit;
