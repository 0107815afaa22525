//! What the tasks of a step have written and its image has not got: srun says so, and does not end with 0. The tasks have ended well by
//! then, and Slurm has their codes.
//!
//! A fuse2fs that is killed stands for the OOM killer's choice, and for whatever else ends it.

use anyhow::{Result, ensure};
use cluster::{Output, Release};

use crate::support::{Desk, Expect, Setup, World, tests};

tests! {
    Only(Release::Bookworm), Desk: [an_image_that_was_left_open_is_no_success];
    Apptainer, Desk: [a_full_image_is_no_success_of_a_step, a_full_disk_is_no_success_of_a_step];
    Apptainer, OwnCluster: [a_killed_fuse_program_is_no_success];
}

/// Says that it has written, waits, and ends with this code. It needs nothing of its file system by then.
fn task(code: u8) -> String {
    format!("echo written > /written; : > there; read word < go; exit {code}")
}

pub(crate) fn line(desk: &Desk) -> String {
    format!("{}: it could not be unmounted cleanly: what was written last may be lost: ", desk.path("env.img"))
}

/// What the node says, which cannot name the image.
const ON_THE_NODE: &str = "condatainer: what was written last in the step's container may be lost: ";

/// Runs this command, kills fuse2fs when its task says that it is there, and lets the task end.
fn with_a_kill(desk: &Desk, command: &str) -> Result<Output> {
    desk.script(&format!(
        "{command} & until [ -e there ]; do sleep 0.1; done
        pkill -KILL -x fuse2fs; while pgrep -x fuse2fs; do sleep 0.1; done > /dev/null; echo on > go; rm there; wait $!"
    ))
}

fn repaired(desk: &Desk) -> Result<()> {
    desk.srun_in("env.img:rw", "true")?.success()?.complains("repairing it (e2fsck -p)")?;
    desk.srun_in("env.img:rw", "true")?.success()?.without_a_word()?;
    desk.is_clean("env.img")
}

fn a_killed_fuse_program_is_no_success(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::default(), |desk| {
        let desk = &desk.with_mounts("engine");
        desk.image("env.img")?;
        desk.script("mkfifo go")?.success()?;
        let line = line(desk);
        let step = |options: &str, mode: &str, code: u8| {
            format!("srun {options} --condatainer-overlay=env.img:{mode} sh -c '{}'", task(code))
        };
        let session = format!("condatainer exec -w -o env.img sh -c '{}'", task(0));
        with_a_kill(desk, &session)?.ends_with(1)?.complains(&line)?;
        repaired(desk)?;
        let output = with_a_kill(desk, &step("", "rw", 0))?.ends_with(1)?;
        ensure!(output.stderr.matches(&line).count() == 1, "{}", output.stderr);
        output.complains(ON_THE_NODE)?;
        repaired(desk)?;
        with_a_kill(desk, &step("", "rw", 7))?.ends_with(7)?;
        repaired(desk)?;
        // Nothing was written.
        desk.script("echo kept > written")?.success()?;
        let reads = step("", "ro", 0).replace("echo written > /written; ", "");
        with_a_kill(desk, &reads)?.ends_with(0)?;
        desk.srun_in("env.img:rw", "true")?.success()?;
        // A script goes on by what its srun says. The relay's srun is the same one.
        let in_job = format!("salloc -Q sh -c \"{} || echo not done\"", step("", "rw", 0));
        ensure!(with_a_kill(desk, &in_job)?.complains(&line)?.stdout.contains("not done"), "salloc");
        repaired(desk)?;
        let script = format!("#!/bin/sh\n{} || exit 9\n", step("", "rw", 0));
        let id = desk.submit(&["--condatainer-base=/srv/base/base.sqf"], &script)?;
        with_a_kill(desk, "true")?.success()?;
        let (job, said) = (desk.job_ends(id)?, desk.output_of(id)?);
        ensure!(job.code == 9 && said.contains(&line), "{job:?} {said}");
        repaired(desk)?;
        // Slurm has its code by then, and it has no srun.
        let id = desk.submit(&["--condatainer-overlay=env.img:rw"], &format!("#!/bin/sh\n{}\n", task(0)))?;
        with_a_kill(desk, "true")?.success()?;
        let (job, said) = (desk.job_ends(id)?, desk.output_of(id)?);
        ensure!(job.code == 0 && said.contains(ON_THE_NODE), "{job:?} {said}");
        repaired(desk)?;
        desk.nodes_are_well()
    })
}

/// On the release without Apptainer: its stand-in mounts nothing, so the task writes into the superblock what fuse2fs has there while it
/// is mounted. However srun was started, it ends in order.
fn an_image_that_was_left_open_is_no_success(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let (image, line) = (desk.path("env.img"), line(desk));
    let state = |valid: char| format!("printf \\\\00{valid} | dd of={image} bs=1 seek=1082 conv=notrunc status=none");
    let (open, close) = (state('0'), state('1'));
    let overlay = "--condatainer-overlay=env.img:rw";
    desk.srun_in("env.img:rw", "echo well")?.says("well")?.without_a_word()?;
    desk.srun_in("env.img:rw", &open)?.ends_with(1)?.complains(&line)?;
    desk.script(&close)?.success()?;
    desk.srun_in("env.img:rw", &format!("{open}; exit 7"))?.ends_with(7)?;
    desk.script(&close)?.success()?;
    let typed = desk.command().terminal().run(&["srun", "--pty", overlay, "sh", "-c", &open])?;
    ensure!(typed.code == 1 && format!("{}{}", typed.stdout, typed.stderr).contains(&line), "{typed:?}");
    desk.script(&close)?.success()?;
    let (job, said) = desk.batch(&[], &format!("#!/bin/sh\nsrun {overlay} sh -c '{open}' || exit 9\n"))?;
    ensure!(job.code == 9 && said.contains(&line), "{job:?} {said}");
    desk.script(&close)?.success()?;
    desk.nodes_are_well()
}

/// As with a session.
fn a_full_image_is_no_success_of_a_step(desk: &Desk) -> Result<()> {
    let desk = &desk.with_mounts("engine");
    desk.small_image("env.img")?;
    let fill = "head -c 30M /dev/zero > /big; true";
    let output = desk.srun_in("env.img:rw", fill)?.ends_with(1)?;
    output
        .complains("env.img: is full: what was written last may be lost: run 'condatainer overlay resize --free 1G ")?;
    desk.srun_in("env.img:rw", "echo ran")?.says("ran")?.complains("is full: what does not fit is lost")?;
    Ok(())
}

/// What `:tmp` has taken is gone anyway, so there the node's line is all. Where we mount, the command is told when it writes.
fn a_full_disk_is_no_success_of_a_step(desk: &Desk) -> Result<()> {
    let desk = &desk.with_mounts("engine");
    desk.as_root("mkdir small; mount -t tmpfs -o size=12m,mode=1777 small small; chown alice small")?.success()?;
    desk.image("env.img")?;
    let many = "mkdir /d; for i in $(seq 1 20); do head -c 1000000 /dev/urandom > /d/$i; done 2> /dev/null; exit 0";
    let step = desk.command().env("TMPDIR", &desk.path("small"));
    step.run(&["srun", "--condatainer-overlay=env.img:tmp", "sh", "-c", many])?.ends_with(0)?.complains(ON_THE_NODE)?;
    desk.image("small/env.img")?;
    let output = desk.srun_in("small/env.img:rw", many)?.ends_with(1)?.complains(ON_THE_NODE)?;
    output.complains("what was written last may be lost: make room, then run 'condatainer overlay check ")?;
    desk.as_root("umount -l small").map(drop)
}
