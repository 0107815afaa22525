//! Steps whose layers we mount ourselves, where Slurm tracks and limits them by cgroups, and where it gives each job a `/tmp` of its own.

use anyhow::{Context, Result, ensure};
use cluster::{Output, Proctrack, Release};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

use super::servers::{MARK, nothing_is_left, ours, two_layers};
use crate::support::{Desk, Expect, Setup, World, tests};

tests! {
    MemoryCgroups, OwnCluster: [slurm_tracks_and_limits_by_cgroups];
    Apptainer, OwnCluster: [every_job_has_a_tmp_of_its_own, each_task_has_a_tmp_that_its_keeper_has_not];
}

/// What serves a step is where its keeper is: in a freezer of its own, so that no signal of Slurm's reaches it, and where slurmstepd counts its memory,
/// not where a task's counts.
fn slurm_tracks_and_limits_by_cgroups(world: &World, release: Release) -> Result<()> {
    let slurm_conf = "TaskPlugin=task/cgroup\nSelectTypeParameters=CR_Core_Memory\n";
    let setup = Setup { proctrack: Proctrack::CgroupV1, slurm_conf, ..Setup::default() };
    world.with_cluster(release, &setup, |desk| {
        two_layers(desk)?;
        let task = "touch at.$SLURM_PROCID; until [ -e go ]; do sleep 0.1; done; cat /own/file";
        let step = format!("srun -n4 --mem=200M --condatainer-overlay=mod.sqf,env.img sh -c '{task}' > out & step=$!; ");
        let look = "until [ $(ls at.? 2> /dev/null | wc -l) = 4 ]; do sleep 0.1; done; groups() { cut -d: -f2- /proc/$1/cgroup | grep -E '^(freezer|memory):' | sed 's/:.*job_[0-9]*/ /; s/condatainer-.*/ours/' | sort; }; \
            groups $(servers); diff <(groups $(servers)) <(groups $(pgrep -u alice -f 'condatainer [k]eep')); touch go; wait $step; sort -u out; rm go at.?";
        ours(desk, &format!("{step}{look}"))?.says("freezer /ours\nmemory /step_0\nimage").context("whose cgroups the server is in")?;
        nothing_is_left(desk)?;
        the_oom_killer_ends_a_task_alone(desk)?;
        let doctor = "export CONDATAINER_SCRATCH=memory; srun --mem=256M condatainer doctor --json | grep -o 'memory, at most 128 MiB: [^\"]*'";
        ours(desk, doctor)?.says("memory, at most 128 MiB: half of what a start may have here, which is little")?;
        ends_of_a_step(desk)?;
        let left = desk.as_root("find /sys/fs/cgroup -name 'condatainer*' -o -name 'step_*'")?.stdout;
        ensure!(left.is_empty(), "{left}");
        Ok(())
    })
}

/// Those beside it read on, and what they have read into the server's memory is not the task's.
fn the_oom_killer_ends_a_task_alone(desk: &Desk) -> Result<()> {
    let task = "if [ $SLURM_PROCID = 1 ]; then touch at.1; exec python3 -c \"bytearray(400 << 20)\"; fi; until [ -e at.1 ] && [ -e go ]; do sleep 0.1; done; \
        find /usr -xdev -type f -exec cat {} + | wc -c > read; cat /own/file";
    let step = format!(
        "srun -n2 --mem=200M --kill-on-bad-exit=0 --condatainer-overlay=mod.sqf,env.img:tmp sh -c '{task}' 2> words & "
    );
    let text = format!(
        "{step} until grep -qi \"out of memory\\|oom\" words; do sleep 0.1; done; touch go; wait $!; rm go at.1; [ $(cat read) -gt 1000000 ]"
    );
    ours(desk, &text)?.says("image").context("a task of two that the OOM killer ends")?;
    nothing_is_left(desk)
}

/// Slurm tells each job's processes apart by a mount namespace, and with `contain_spank` the keeper is in it.
fn every_job_has_a_tmp_of_its_own(world: &World, release: Release) -> Result<()> {
    let slurm_conf =
        "JobContainerType=job_container/tmpfs\nPrologFlags=contain\nSlurmdParameters=contain_spank,config_overrides\n";
    let setup = Setup { slurm_conf, private_tmp: true, ..Setup::default() };
    world.with_cluster(release, &setup, |desk| {
        until_slurm_makes_them(desk)?;
        two_layers(desk)?;
        each_leaves_a_file_in_tmp(desk, 4)?.says("1\n 4 4\n 4 image\n0").context("one server, and the job's /tmp")?;
        what_lies_in_it(desk)?;
        ends_of_a_step(desk)
    })
}

/// Without `contain_spank` a keeper sees another `/tmp` than the tasks do, and each of them starts a container.
fn each_task_has_a_tmp_that_its_keeper_has_not(world: &World, release: Release) -> Result<()> {
    let slurm_conf = "JobContainerType=job_container/tmpfs\nPrologFlags=contain\n";
    let setup = Setup { slurm_conf, private_tmp: true, ..Setup::default() };
    world.with_cluster(release, &setup, |desk| {
        until_slurm_makes_them(desk)?;
        two_layers(desk)?;
        each_leaves_a_file_in_tmp(desk, 2)?.says("2\n 2 2\n 2 image\n0")?;
        desk.nodes_are_well()
    })
}

/// So many tasks of a step, which wait for each other: how many servers they have, what each reads and how many of the files it sees, and how
/// many are in the node's own `/tmp` afterwards.
fn each_leaves_a_file_in_tmp(desk: &Desk, tasks: u32) -> Result<Output> {
    let task = "cat /own/file; touch /tmp/of.$SLURM_PROCID at.$SLURM_PROCID; until [ -e go ]; do sleep 0.1; done; ls /tmp/of.? | wc -l";
    let step = format!("srun -n{tasks} --condatainer-overlay=mod.sqf,env.img sh -c '{task}' > out & ");
    let look = format!(
        "until [ $(ls at.? 2> /dev/null | wc -l) = {tasks} ]; do sleep 0.1; done; servers | wc -l; touch go; wait $!; \
        sort out | uniq -c | tr -s ' '; ls /tmp/of.? 2> /dev/null | wc -l; rm go at.?"
    );
    let output = ours(desk, &format!("{step}{look}"))?;
    nothing_is_left(desk)?;
    Ok(output)
}

/// The image itself, and what `:tmp` writes.
fn what_lies_in_it(desk: &Desk) -> Result<()> {
    let job = format!(
        "#!/bin/sh\nexport CONDATAINER_MOUNTS=own CONDATAINER_TMPDIR=/tmp\n{MARK}\nrm -f at.?; cp env.img mod.sqf /tmp\n\
        srun -n2 --condatainer-overlay=/tmp/mod.sqf,/tmp/env.img:tmp sh -c 'cat /own/file; touch at.$SLURM_PROCID; until [ -e at.0 ] && [ -e at.1 ]; do sleep 0.1; done; echo new > /own/file.$SLURM_PROCID; ls -A /tmp | wc -l' | sort -r\n\
        srun -n1 --condatainer-overlay=/tmp/env.img ls /own\nls -A /tmp\n"
    );
    let (job, said) = desk.batch(&["-n2"], &job)?;
    ensure!(job.state == "COMPLETED" && said == "image\nimage\n2\n2\nfile\nlink\nenv.img\nmod.sqf\n", "{job:?} {said}");
    nothing_is_left(desk)
}

/// Cancelled; and its server stopped, so that no task of it can be killed.
fn ends_of_a_step(desk: &Desk) -> Result<()> {
    let task = "touch there.$SLURM_PROCID; find /usr -xdev -type f -exec cat {} + > /dev/null 2>&1; exec sleep 8651";
    for stop in ["true", "kill -STOP $(servers)"] {
        let job = format!(
            "#!/bin/sh\nexport CONDATAINER_MOUNTS=own\n{MARK}\nsrun -n4 -O --condatainer-overlay=env.img sh -c '{task}'\n"
        );
        desk.script("rm -f there.*")?.success()?;
        let id = desk.submit(&["-n1"], &job)?;
        desk.wait_until("[ $(ls there.? | wc -l) = 4 ]")?;
        ours(desk, &format!("{stop} && scancel {id}"))?.success()?;
        desk.job_ends(id)?;
        nothing_is_left(desk).with_context(|| stop.to_owned())?;
        desk.wait_until("! pgrep -u alice -f '^sleep 8651|^find /usr -xdev'").with_context(|| stop.to_owned())?;
    }
    desk.nodes_are_well()
}

/// On some kernels (Linux 6.18) each processor counts mount namespaces for itself, and one can be kept by a file only in a namespace that has a
/// smaller number. Slurm keeps those of its jobs so; where slurmd runs on the processor that has made the node's own, it can.
fn until_slurm_makes_them(desk: &Desk) -> Result<()> {
    let processors = sched_getaffinity(Pid::from_raw(0))?;
    for processor in (0..CpuSet::count()).filter(|number| processors.is_set(*number).unwrap_or(false)) {
        desk.cluster.stop_slurmd(1)?;
        desk.as_root(&format!("cd /; taskset -c {processor} slurmd"))?.success()?;
        desk.cluster.wait_until_idle()?;
        if desk.run(&["srun", "true"])?.code == 0 {
            return desk.wait_until("! pgrep -x slurmstepd");
        }
    }
    anyhow::bail!("Slurm can give no job a /tmp of its own here")
}
