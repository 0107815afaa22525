//! What was not covered, by name: on a release without Apptainer, and on a machine without certain hardware.

use cluster::{Release, cgroup};

use crate::support::{Needs, SETUID, SINGULARITY, Suite, setuid, singularity};

/// What no test of this suite can show on a build machine.
const NOT_HERE: [&str; 6] = [
    "NVIDIA and ROCm GPUs in a container (no such devices): only the planned options are tested, in core",
    "locks of Lustre and NFS, and writers on different hosts (one kernel here)",
    "cgroup v2 as Slurm's process tracker, and a power cut: 'make vm' shows them in a virtual machine",
    "job_container/tmpfs and namespace/tmpfs, with and without contain_spank: on these clusters they fail now and then without us, too",
    "an MPI program started by srun on sid, whose Slurm has no PMIx: trixie shows it, and mpirun in a batch script shows it on both",
    "AppArmor that restricts user namespaces, kernels before 5.11, file capabilities instead of setuid bits: doctor's verdicts only, in core",
];

/// Said where no real tool was named.
const NO_CONDA: &str = "micromamba, mamba and conda themselves: modules were made by rattler, another implementation of conda, behind a front \
    with micromamba's command line; CONDATAINER_TEST_CONDA=PROGRAM takes a real one, and the command lines of all three are tested in core";

/// Prints it, at the end of every run.
pub(crate) fn report(suite: &Suite) {
    for release in Release::ALL.into_iter().filter(|release| !release.has_apptainer()) {
        let names = that_need(suite, Needs::Apptainer);
        println!("\nnot covered on {release} (it has no Apptainer; the rest ran with a stand-in): {names}");
    }
    if !cgroup::limits_memory() {
        let names = that_need(suite, Needs::MemoryCgroups);
        println!("\nnot covered here (this host does not limit memory by cgroups v1): {names}");
    }
    if singularity().is_none() {
        let names = that_need(suite, Needs::SingularityCE);
        println!("\nnot covered without SingularityCE ({SINGULARITY}=DIR names one): {names}");
    }
    if setuid().is_none() {
        let names = that_need(suite, Needs::SetuidApptainer);
        println!("\nnot covered without a setuid Apptainer ({SETUID}=DIR names one): {names}");
    }
    if !cluster::conda::is_real() {
        println!("\nnot covered here: {NO_CONDA}");
    }
    println!("\nnot covered here: {}\n", NOT_HERE.join("; "));
}

fn that_need(suite: &Suite, needs: Needs) -> String {
    let tests = suite.tests().filter(|(_, test)| test.needs == needs);
    tests.map(|(theme, test)| format!("{theme}::{}", test.name)).collect::<Vec<_>>().join(", ")
}
