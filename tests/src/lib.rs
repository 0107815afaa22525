//! A throw-away Slurm cluster on one machine, because condatainer is only true where a real slurmctld, slurmd and
//! Apptainer say so.
//!
//! [`Cluster::start`] raises a cluster of one Debian release in its own namespaces on a cached, never modified root, and
//! takes everything down when it is dropped. Three layers: [`prepared`] builds what is cached, [`Machine`] is a
//! root running in namespaces of its own, [`Cluster`] is munge and Slurm on top of that. Needs root on a Debian machine.
#![forbid(unsafe_code)]

mod cache;
pub mod document;
mod files;
mod machine;
mod options;
mod prepared;
mod progress;
mod release;
mod slurm;

pub use cache::{Cache, clean};
pub use machine::command::{Command, Output};
pub use machine::host::{ensure_host_packages, require_root};
pub use machine::interrupt::{signal_received, stop_on_signals};
pub use machine::process::processor_time;
pub use machine::{Machine, MachineSetup, cgroup};
pub use options::{Bind, Install, Options, Proctrack};
pub use prepared::tree::{Tree, put};
pub use prepared::{base, conda, modules, roots};
pub use progress::say;
pub use release::Release;
pub use slurm::cluster::Cluster;
pub use slurm::job::Job;

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
