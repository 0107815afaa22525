//! Slurm on machines: munge and the daemons started ([`boot`]) with a [`configuration`] on each [`node`], the [`cluster`] that they are,
//! and a [`job`] on it.

mod boot;
pub(crate) mod cluster;
mod configuration;
pub(crate) mod job;
mod node;
