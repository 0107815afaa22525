//! What was not covered: on a release without Apptainer, and on a machine without certain hardware; and what ran on one release only. In
//! short on the screen, by theme and reason; by name in a file.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use cluster::{Release, cgroup};

use crate::support::{Needs, SETUID, SINGULARITY, Suite, setuid, singularity};

/// What no test of this suite can show on a build machine.
const NOT_HERE: [&str; 5] = [
    "NVIDIA and ROCm GPUs themselves: what the engine shows of them is tested with device files, a library and programs that stand for theirs",
    "locks of Lustre and NFS, and writers on different hosts (one kernel here)",
    "cgroup v2 as Slurm's process tracker, a power cut, an NFS server that goes away, and other kernels: 'make vm' shows them in virtual machines",
    "an MPI program started by srun on sid, whose Slurm has no PMIx: trixie shows it, and mpirun in a batch script shows it on both",
    "AppArmor that restricts user namespaces, kernels before 5.11, file capabilities instead of setuid bits: doctor's verdicts only, in core",
];

/// Said where no real tool was named.
const NO_CONDA: &str = "micromamba, mamba and conda themselves (modules were made by rattler behind a front with micromamba's command \
    line; CONDATAINER_TEST_CONDA=PROGRAM takes a real one)";

/// Said where no real one was named.
const NO_SETUID: &str = "a setuid Apptainer's own starter: a copy of the unprivileged one has its name, by which Apptainer calls itself setuid";

/// Prints it, at the end of every run.
pub(crate) fn report(suite: &Suite) {
    let mut lacks: Vec<(String, Needs)> = Vec::new();
    for release in Release::ALL.into_iter().filter(|release| !release.has_apptainer()) {
        lacks.push((format!("{release} has no Apptainer (the rest ran with a stand-in)"), Needs::Apptainer));
    }
    if !cgroup::limits_memory() {
        lacks.push(("this host does not limit memory by cgroups v1".into(), Needs::MemoryCgroups));
    }
    if singularity().is_none() {
        lacks.push((format!("there is no SingularityCE ({SINGULARITY}=DIR names one)"), Needs::SingularityCE));
    }
    let once =
        (format!("on {} only, since neither Slurm nor who mounts plays a part", Release::Sid), Needs::ApptainerOnce);
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("not-covered.txt");
    let told = lacks.iter().chain([&once]).map(|(why, needs)| by_name(suite, why, *needs));
    let named = fs::write(&file, told.collect::<String>());
    let place = named.map_or_else(|error| error.to_string(), |()| file.display().to_string());
    println!("\n{}: {}", once.0, by_theme(suite, once.1));
    println!("\nnot covered (by name: {place}):");
    for (why, needs) in &lacks {
        println!("- {why}: {}", by_theme(suite, *needs));
    }
    let conda = (!cluster::conda::is_real()).then_some(NO_CONDA);
    let setuid = setuid().is_none().then(|| format!("{NO_SETUID} ({SETUID}=DIR names a real one)"));
    let setuid = setuid.as_deref();
    conda.into_iter().chain(setuid).chain(NOT_HERE).for_each(|what| println!("- {what}"));
    println!();
}

/// `42 tests: join 14, modes 12, …`, the theme with most of them first.
fn by_theme(suite: &Suite, needs: Needs) -> String {
    let mut themes: Vec<(usize, &str)> = Vec::new();
    for (theme, _) in suite.tests().filter(|(_, test)| test.needs == needs) {
        match themes.iter_mut().find(|(_, name)| *name == theme) {
            Some((count, _)) => *count += 1,
            None => themes.push((1, theme)),
        }
    }
    themes.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let all: usize = themes.iter().map(|(count, _)| count).sum();
    let listed: Vec<String> = themes.iter().map(|(count, theme)| format!("{theme} {count}")).collect();
    format!("{all} tests: {}", listed.join(", "))
}

fn by_name(suite: &Suite, why: &str, needs: Needs) -> String {
    let mut text = format!("{why}:\n");
    for (theme, test) in suite.tests().filter(|(_, test)| test.needs == needs) {
        let _ = writeln!(text, "  {theme}::{}", test.name);
    }
    text
}
