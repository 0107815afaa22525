//! A throw-away Slurm cluster on one machine, because condatainer is only true where a real slurmctld, slurmd and
//! Apptainer say so.
//!
//! [`Cluster::start`] raises a cluster of one Debian release in its own namespaces on a cached, never modified root, and
//! takes everything down when it is dropped. Three layers: [`roots`] and [`base`] build what is cached, [`Machine`] is a
//! root running in namespaces of its own, [`Cluster`] is munge and Slurm on top of that. Needs root on a Debian machine.
#![forbid(unsafe_code)]

pub mod base;
mod boot;
mod cache;
pub mod cgroup;
mod cluster;
mod command;
pub mod conda;
mod host;
mod interrupt;
mod job;
mod machine;
mod mirror;
mod mmdebstrap;
pub mod modules;
mod namespace;
mod node;
mod options;
mod pip;
mod process;
mod release;
pub mod roots;
mod scratch;
mod slurm;
mod users;

pub use cache::{Cache, clean};
pub use cluster::Cluster;
pub use command::{Command, Output};
pub use host::{ensure_host_packages, require_root};
pub use interrupt::{signal_received, stop_on_signals};
pub use job::Job;
pub use machine::{Machine, MachineSetup};
pub use options::{Bind, Install, Options, Proctrack};
pub use release::Release;

/// Says one line of progress on standard error.
pub fn say(line: impl std::fmt::Display) {
    eprintln!("cluster: {line}");
}

/// Builds everything that clusters of these releases need and that is not cached yet: roots and base images.
///
/// # Errors
/// When this is not root, a host package cannot be installed, or a root or image cannot be built.
pub fn prepare(cache: &Cache, releases: &[Release]) -> anyhow::Result<()> {
    require_root()?;
    ensure_host_packages()?;
    std::thread::scope(|scope| {
        let base = scope.spawn(|| base::prepare(cache));
        let roots: anyhow::Result<Vec<_>> = releases.iter().map(|release| roots::prepare(cache, *release)).collect();
        base.join().map_err(|_| anyhow::anyhow!("building the base images stopped half-way"))??;
        roots.map(drop)
    })
}
