//! Containers that do not end: whatever the step's keeper has started ends with the step, by root's hand if it must. The node stays
//! well, and the user is told.

use anyhow::{Context, Result, ensure};
use cluster::{Output, Proctrack, Release};

use crate::slurm::ends::is_gone;
use crate::slurm::lost;
use crate::support::{Desk, Expect, Setup, World, tests};

tests! {
    Slurm, OwnCluster: [what_an_apptainer_leaves_behind_is_killed, a_keeper_that_is_stopped_is_killed, a_child_that_hides_is_killed, the_keeper_has_the_limits_of_a_task];
    Apptainer, OwnCluster: [a_fuse_program_that_hangs_is_killed, a_cancelled_step_is_killed_in_time];
}

/// A task that writes, and ends when it is told to.
const TASK: &str =
    "{ echo written > /written && sync /written; } 2> /dev/null; touch there; until [ -e go ]; do sleep 0.1; done";
const LATE: &str = "condatainer: the step's container did not end within 2 s and was killed";
const STRAYS: &str = "condatainer: processes that the step's container had left behind were killed";
/// An `apptainer` that a user has found in their own PATH, and that has left a child with a session of its own. It is deaf.
const OWN_APPTAINER: &str = "#!/bin/sh\nsetsid sh -c 'trap \"\" TERM HUP INT; sleep NUMBER; sleep NUMBER' > /dev/null 2>&1 &\nexec /usr/bin/apptainer \"$@\"\n";

/// Both ways in which Slurm can track steps here; the virtual machine has the third.
fn on_both_trackers(world: &World, release: Release, run: impl Fn(&Desk, Proctrack) -> Result<()>) -> Result<()> {
    for proctrack in [Proctrack::LinuxProc, Proctrack::CgroupV1] {
        let setup = Setup { proctrack, plugin_arguments: "patience=2", ..Setup::default() };
        world
            .with_cluster(release, &setup, |desk| {
                desk.image("env.img")?;
                run(desk, proctrack)?;
                no_cgroup_is_left(desk)?;
                desk.nodes_are_well()
            })
            .with_context(|| format!("{proctrack:?}"))?;
    }
    Ok(())
}

/// Runs [`TASK`] in a step, does this to its container meanwhile, and lets the task end.
fn meanwhile(desk: &Desk, options: &str, done: &str) -> Result<Output> {
    let step = format!(
        "srun {options} --condatainer-overlay=env.img:rw sh -c '{TASK}' & until [ -e there ]; do sleep 0.1; done"
    );
    desk.script(&format!("{step}; {{ {done}; }} || exit 99; touch go; wait $!"))
}

/// The same with the container of a batch script. Slurm has the script's code by then, and it has no srun.
fn a_script_is_told(desk: &Desk, done: &str) -> Result<()> {
    desk.script("rm -f there go")?.success()?;
    let id = desk.submit(&["--condatainer-overlay=env.img:rw"], &format!("#!/bin/sh\n{TASK}\n"))?;
    desk.wait_until("[ -e there ]")?;
    desk.script(&format!("{done}; touch go"))?.success()?;
    let (job, said) = (desk.job_ends(id)?, desk.output_of(id)?);
    ensure!(job.code == 0 && said.contains(LATE), "{job:?} {said}");
    Ok(())
}

/// Stops fuse2fs as a disk does that does not answer: only SIGKILL ends it. SIGSTOP does not do: where the processes of its group lose
/// their parents, the kernel has it go on, and it may close its image before it is killed.
const HANG: &str = include_str!("../support/hang.pl");
/// What [`meanwhile`] does when [`HANG`] runs.
const UNTIL_IT_HANGS: &str =
    "until [ -s held ]; do pgrep -f '[h]ang.pl' > /dev/null || exit 98; sleep 0.1; done; rm -f held";

/// From now on the next fuse2fs that a task has written by hangs.
fn hang(desk: &Desk) -> Result<()> {
    desk.script("rm -f there held")?.success()?;
    desk.write("hang.pl", HANG)?;
    desk.as_root("umask 0; perl hang.pl > hang.log 2>&1 &")?.success().map(drop)
}

/// Those of the step's; the cluster's own processes are root's. On a cluster of its own only: elsewhere other tests have wardens too.
fn nobody_is_left(desk: &Desk, pattern: &str) -> Result<()> {
    let left = desk.script(&format!("pgrep -a -u alice -f '{pattern}'"))?.stdout;
    ensure!(left.is_empty(), "{left}");
    // It has one more system call to make when it has told how the container ended.
    desk.wait_until("! pgrep -x warden")
}

fn no_cgroup_is_left(desk: &Desk) -> Result<()> {
    let left = desk.as_root("find /sys/fs/cgroup -name 'condatainer*'")?.stdout;
    ensure!(left.is_empty(), "{left}");
    Ok(())
}

/// Whatever it says itself: the keeper has ended, so nothing of what is left is waited for.
fn what_an_apptainer_leaves_behind_is_killed(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::default(), |desk| {
        desk.image("env.img")?;
        desk.script("mkdir -p bin")?.success()?;
        desk.write("bin/apptainer", &OWN_APPTAINER.replace("NUMBER", "76321"))?;
        let script = format!("PATH={}:$PATH srun --condatainer-overlay=env.img:rw sh -c 'exit 3'", desk.path("bin"));
        desk.script(&script)?.ends_with(3)?.complains(STRAYS)?;
        nobody_is_left(desk, "[s]leep 76321")?;
        desk.nodes_are_well()
    })
}

/// `SIGSTOP` stands for a program that waits for ever. Its fuse2fs, which is held so that it cannot close the image first, is killed with it.
fn a_keeper_that_is_stopped_is_killed(world: &World, release: Release) -> Result<()> {
    on_both_trackers(world, release, |desk, proctrack| {
        let desk = &desk.with_mounts("engine");
        // A cgroup of its own, where Slurm has them.
        let is_fenced = match proctrack {
            Proctrack::LinuxProc => "true",
            Proctrack::CgroupV1 => "grep -q ':freezer:.*/job_[0-9]*/condatainer-' /proc/$keeper/cgroup",
        };
        // The stand-in for an Apptainer has no fuse2fs.
        let until_it_hangs = if release.has_apptainer() { hang(desk).map(|()| UNTIL_IT_HANGS)? } else { "" };
        let stop = "kill -STOP $keeper && ! kill -KILL $(pgrep -x warden) 2> /dev/null";
        meanwhile(
            desk,
            "",
            &format!("{until_it_hangs}\nkeeper=$(pgrep -f 'condatainer [k]eep'); {is_fenced} && {stop}"),
        )?
        .ends_with(i32::from(release.has_apptainer()))?
        .complains(LATE)?;
        nobody_is_left(desk, "[k]eep --part|[e]nv.img")?;
        a_script_is_told(desk, "pkill -STOP -f 'condatainer [k]eep'")?;
        nobody_is_left(desk, "[k]eep --part|[e]nv.img")
    })
}

/// However it tries to get away: out of its session, its group and its parents' sight, by forks that never end.
fn a_child_that_hides_is_killed(world: &World, release: Release) -> Result<()> {
    on_both_trackers(world, release, |desk, proctrack| {
        desk.script("mkdir -p bin")?.success()?;
        let forks = "setsid sh -c 'f() { : stopped; (f &); exit; }; f' > /dev/null 2>&1 &\n";
        let apptainer = OWN_APPTAINER.replace("NUMBER", "76322").replace("\nexec", &format!("\n{forks}exec"));
        // Without a cgroup nothing stops a chain of forks for certain, neither Slurm nor we.
        let is_fenced = proctrack == Proctrack::CgroupV1;
        desk.write("bin/apptainer", &if is_fenced { apptainer } else { OWN_APPTAINER.replace("NUMBER", "76322") })?;
        let script = format!("PATH={}:$PATH srun --condatainer-overlay=env.img:rw true", desk.path("bin"));
        desk.script(&script)?.ends_with(0)?.complains(STRAYS)?;
        nobody_is_left(desk, "[s]leep 76322|[s]topped")
    })
}

/// As fuse2fs is on a disk that does not answer. What it had not written is lost; the image is repaired when it is next used.
fn a_fuse_program_that_hangs_is_killed(world: &World, release: Release) -> Result<()> {
    on_both_trackers(world, release, |desk, _| {
        let desk = &desk.with_mounts("engine");
        hang(desk)?;
        meanwhile(desk, "", UNTIL_IT_HANGS)?.ends_with(1)?.complains(LATE)?.complains(&lost::line(desk))?;
        nobody_is_left(desk, "[e]nv.img")?;
        desk.srun_in("env.img:rw", "cat /written; echo again > /again")?.says("written")?;
        hang(desk)?;
        a_script_is_told(desk, UNTIL_IT_HANGS)?;
        nobody_is_left(desk, "[e]nv.img")?;
        desk.srun_in("env.img:rw", "true")?.success()?;
        desk.exec(&["-o", "env.img"], "cat /again")?.says("again")?;
        is_gone(desk)
    })
}

/// Slurm's clock runs from the cancellation on: its end would drain the node.
fn a_cancelled_step_is_killed_in_time(world: &World, release: Release) -> Result<()> {
    let setup = Setup {
        slurm_conf: "UnkillableStepTimeout=20\nMessageTimeout=4\n",
        plugin_arguments: "patience=5",
        ..Setup::default()
    };
    world.with_cluster(release, &setup, |desk| {
        desk.image("env.img")?;
        let id = desk.submit(&["--condatainer-overlay=env.img:rw"], &format!("#!/bin/sh\n{TASK}\n"))?;
        desk.wait_until("[ -e there ]")?;
        desk.script(&format!("pkill -STOP -x fuse2fs; scancel {id}"))?.success()?;
        desk.job_ends(id)?;
        desk.wait_until("! pgrep -f '[e]nv.img'")?;
        desk.cluster.wait_until_idle()?;
        desk.nodes_are_well()
    })
}

/// Whatever slurmstepd has: the OOM killer takes the one that it should.
fn the_keeper_has_the_limits_of_a_task(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::default(), |desk| {
        desk.image("env.img")?;
        // Where root may not go below zero, slurmstepd keeps this.
        desk.as_root("echo 500 > /proc/$(pgrep -x slurmd)/oom_score_adj")?.success()?;
        let engines = if release.has_apptainer() { 3 } else { 1 };
        are_as_a_task(&desk.with_mounts("engine"), "pgrep -x fuse2fs; pgrep -x squashfuse_ll", engines, "no line")?;
        if release.has_apptainer() {
            // A server may open all files that it is allowed to.
            are_as_a_task(&desk.with_mounts("own"), "pgrep -f '[s]erve-stack'", 2, "^Max open files")?;
        }
        Ok(())
    })
}

/// The keeper, and the `others` that a text finds, `but` for these lines.
fn are_as_a_task(desk: &Desk, others: &str, count: usize, but: &str) -> Result<()> {
    // Linux does not look at the resident set.
    let show = "show() { grep -v 'Max resident set' /proc/$1/limits; cat /proc/$1/oom_score_adj; }";
    let compare = format!(
        "{show}; show $(pgrep -n -u alice -x sh) > task; for one in $(pgrep -f 'condatainer [k]eep') $({others}); do
            show $one | grep -v '{but}' | diff <(grep -v '{but}' task) - && echo same >> same; done; show $(pgrep -x warden) | tail -n1 > spared"
    );
    let limits = "rm -f there go same; ulimit -S -n 777; ulimit -S -c 1000; ulimit -S -u 4000";
    let step = format!("srun --condatainer-overlay=env.img:rw sh -c '{TASK}' & until [ -e there ]; do sleep 0.1; done");
    let output = desk.script(&format!("{limits}; {step}; {compare}; touch go; wait $!"))?.success()?;
    ensure!(output.stdout.is_empty(), "{output:?}");
    let [same, task, spared] =
        ["same", "task", "spared"].map(|name| desk.run(&["cat", name]).map(|output| output.stdout));
    let (same, task, spared) = (same?, task?, spared?);
    ensure!(same.lines().count() == count, "{others}: {same}");
    ensure!(task.lines().any(|line| line.starts_with("Max open files") && line.contains(" 777 ")), "{task}");
    ensure!(task.lines().last() == Some("0") && spared.trim() != "0", "{task} {spared}");
    Ok(())
}
