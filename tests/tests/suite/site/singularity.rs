//! SingularityCE in Apptainer's place, real and setuid: what works there, through the kernel's mounts, and what is refused.

use anyhow::{Result, ensure};
use cluster::Release;

use crate::site::every_engine::{self, LEAVE_A_WRITER};
use crate::support::{Expect, Setup, WHERE, World, tests};

tests! {
    SingularityCE, OwnCluster: [
        images_and_squashfs_layers_work_in_a_step_and_by_hand, the_stack_stays_when_the_user_asks_for_another,
        a_command_ends_as_without_a_container, writers_and_readers_exclude_each_other,
        what_is_left_behind_is_ended,
        what_is_deleted_stays_deleted, deletions_of_apptainer_are_refused_until_they_are_translated,
        writes_over_a_tmp_image_vanish, what_a_crash_has_left_is_repaired, directories_work_in_a_user_namespace,
        fakeroot_and_images_of_root_are_refused, zstd_is_refused, without_its_setuid_starter_images_are_refused,
    ];
}

fn images_and_squashfs_layers_work_in_a_step_and_by_hand(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::singularity(), |desk| {
        desk.image("env.img")?;
        desk.script("mkdir -p t/opt/layers && touch t/opt/layers/tool && mksquashfs t tool.sqf -comp gzip -quiet")?;
        desk.srun_in("tool.sqf,env.img:rw", &format!("echo kept > /file; {WHERE}"))?.says("inside env tool")?;
        let output = desk.exec(&["-o", "tool.sqf", "-o", "env.img"], "id -u; cat /file; touch /x")?.ends_with(1)?;
        ensure!(output.stdout == "1001\nkept\n", "{}", output.stdout);
        output.complains("Read-only file system")?;
        let (job, text) = desk.batch(&["--condatainer-overlay=env.img:rw"], "#!/bin/sh\ncat /file; rm /file\n")?;
        ensure!(job.code == 0 && text == "kept\n", "{job:?} {text}");
        desk.is_clean("env.img")
    })
}

/// What users set for Singularity may change neither the mode nor the stack.
fn the_stack_stays_when_the_user_asks_for_another(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::singularity(), |desk| {
        desk.image("env.img")?;
        let command = desk.command().env("SINGULARITY_USERNS", "1").env("SINGULARITY_OCI", "1");
        let argv = ["condatainer", "exec", "-o", "env.img", "--env", "A=$HOME x", "--pwd", "/opt", "--", "sh", "-c"];
        command
            .env("SINGULARITY_FAKEROOT", "1")
            .run(&[&argv[..], &["echo \"$A\"; pwd; ls layers"]].concat())?
            .says("$HOME x\n/opt\nenv")?;
        desk.as_root("sed -i 's/^oci mode = no/oci mode = yes/' /etc/singularity/singularity.conf")?.success()?;
        desk.exec(&["-o", "env.img"], WHERE)?.says("inside env")?;
        Ok(())
    })
}

fn a_command_ends_as_without_a_container(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::singularity(), |desk| {
        every_engine::a_command_ends_as_without_a_container(desk)?;
        desk.as_root("echo limit container paths = /nowhere >> /etc/singularity/singularity.conf")?.success()?;
        let failed = desk.exec(&["-o", "env.img"], "echo RAN")?.ends_with(125)?;
        failed.complains("SingularityCE could not start the container (it ended with exit code 255)").map(drop)
    })
}

fn writers_and_readers_exclude_each_other(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::singularity(), |desk| {
        every_engine::writers_and_readers_exclude_each_other(desk, || {
            desk.run(&["singularity", "exec", "--overlay", "env.img", "/srv/base/base.sif", "true"])?.ends_with(255)?;
            let check = desk.run(&["condatainer", "overlay", "check", "--fix", "env.img"])?.ends_with(1)?;
            check.complains("in use (locked for writing by user alice").map(drop)
        })?;
        // Loop devices outlive the container by a moment; nobody may notice.
        for _ in 0..5 {
            desk.exec(&["-o", "env.img:rw"], "echo x >> /file")?.success()?.without_a_word()?;
        }
        desk.exec(&["-o", "env.img"], "grep -c x /file")?.says("5")?;
        desk.is_clean("env.img")
    })
}

const BASE: &str =
    "mkdir -p base; cp -a /srv/base/base/. base; mkdir base/opt/tree; touch base/opt/tree/old base/opt/one";

/// Users may not touch what the base's root owns, so the base is one of theirs.
fn what_is_left_behind_is_ended(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::singularity(), |desk| {
        desk.image("env.img")?;
        desk.exec(&["-o", "env.img:rw"], LEAVE_A_WRITER)?.says("started")?;
        desk.wait_until("! pgrep -u alice -f '[e]cho x >> /file'")?;
        let unlocked = desk.run(&["condatainer", "overlay", "info", "env.img"])?.success()?.stdout;
        ensure!(unlocked.contains("state       clean") && unlocked.contains("locked by   nobody"), "{unlocked}");
        desk.is_clean("env.img")
    })
}

fn what_is_deleted_stays_deleted(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::singularity(), |desk| {
        desk.image("env.img")?;
        desk.script(BASE)?;
        let replace = "rm /opt/one; rm -r /opt/tree; mkdir /opt/tree; touch /opt/tree/new; ls /opt/tree";
        desk.exec(&["-b", "base", "-o", "env.img:rw"], replace)?.says("new")?;
        let look = "ls -a /opt/tree /opt | xargs";
        let seen = "/opt: . .. layers tree /opt/tree: . .. new";
        for mode in ["ro", "rw", "tmp"] {
            desk.exec(&["-b", "base", "-o", &format!("env.img:{mode}")], look)?.says(seen)?;
        }
        desk.is_clean("env.img")
    })
}

fn deletions_of_apptainer_are_refused_until_they_are_translated(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::singularity(), |desk| {
        desk.image_with(
            "env.img",
            "$SUDO_UID:$SUDO_GID",
            "mkdir etc; install -m 0700 /dev/null etc/.wh.debian_version",
        )?;
        for mode in ["ro", "rw"] {
            let refused = desk.srun_in(&format!("env.img:{mode}"), "echo RAN")?;
            let cure = format!("run 'condatainer overlay check --fix {}'", desk.path("env.img"));
            desk.refused(refused, "SingularityCE would show again what Apptainer has deleted in it")?
                .complains(&cure)?;
        }
        desk.run(&["condatainer", "overlay", "check", "--fix", "env.img"])?.ends_with(0)?;
        desk.srun_in("env.img", "ls -a /etc | grep debian_version; echo done")?.says("done")?;
        desk.is_clean("env.img")
    })
}

fn writes_over_a_tmp_image_vanish(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::singularity(), |desk| {
        desk.image("env.img")?;
        let before = desk.bytes("env.img")?;
        let write = "dd if=/dev/zero of=/big bs=1M count=100 2> /dev/null && stat -c %s /big";
        desk.command()
            .env("TMPDIR", &desk.dir)
            .run(&["condatainer", "exec", "-o", "env.img:tmp", "--", "sh", "-c", write])?
            .says("104857600")?;
        ensure!(desk.files()? == ["env.img"], "{:?}", desk.files()?);
        ensure!(desk.bytes("env.img")? == before, "the image changed");
        Ok(())
    })
}

/// Dirty as a killed fuse2fs leaves it, and with a journal to replay as a crash does.
fn what_a_crash_has_left_is_repaired(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::singularity(), |desk| {
        let killed = ("ssv state 0", "repairing it (e2fsck -p)");
        for (state, words) in [killed, ("feature needs_recovery", "replaying it")] {
            desk.image_with(
                "env.img",
                "$SUDO_UID:$SUDO_GID",
                "mkdir etc; install -m 0700 /dev/null etc/.wh.debian_version",
            )?;
            desk.run(&["/sbin/debugfs", "-w", "-R", state, "env.img"])?;
            let output = desk.exec(&["-o", "env.img:rw"], "ls /etc/debian_version || echo gone")?.says("gone")?;
            output.complains(words)?;
            desk.is_clean("env.img")?;
            desk.run(&["rm", "env.img"])?;
        }
        Ok(())
    })
}

fn directories_work_in_a_user_namespace(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::singularity(), |desk| {
        desk.script("mkdir -p d/upper d/work")?.success()?;
        desk.exec(&["-o", "d:rw"], "echo kept > /file; id -u")?.says("1001")?;
        desk.exec(&["-o", "d:tmp"], "cat /file; echo lost > /file")?.says("kept")?;
        desk.exec(&["-f", "-o", "d:rw"], "id -u; cat /file; chown 42:42 /file; stat -c %u /file")?
            .says("0\nkept\n42")?;
        desk.script("mkdir -p old/upper/etc old/work && touch old/upper/etc/.wh.hostname")?.success()?;
        desk.refused(desk.exec(&["-o", "old"], "echo RAN")?, "what Apptainer has deleted in this directory")?;
        desk.image("env.img")?;
        let both = desk.exec(&["-o", "d", "-o", "env.img"], "echo RAN")?;
        desk.refused(both, "stacks no directory together with image layers")?.ends_with(125)?;
        let bob = desk.of("bob")?;
        bob.script("mkdir -p d/upper d/work")?.success()?;
        bob.refused(bob.exec(&["-f", "-o", "d:rw"], "echo RAN")?, "SingularityCE's needs a subuid range").map(drop)
    })
}

fn fakeroot_and_images_of_root_are_refused(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::singularity(), |desk| {
        desk.image("env.img")?;
        let fakeroot = desk.srun(&["--condatainer-fakeroot", "--condatainer-overlay=env.img:rw", "echo", "RAN"])?;
        desk.refused(fakeroot, "SingularityCE leaves image layers out under fakeroot: drop --fakeroot")?;
        desk.root_image("root.img")?;
        desk.srun_in("root.img", &format!("id -u; {WHERE}"))?.says("1001\ninside root")?.without_a_word()?;
        let cure = format!("run 'condatainer overlay chown {}'", desk.path("root.img"));
        desk.refused(desk.srun_in("root.img:rw", "echo RAN")?, "its upper belongs to root")?.complains(&cure)?;
        desk.run(&["condatainer", "overlay", "chown", "root.img"])?.success()?;
        desk.srun_in("root.img:rw", "touch /file && stat -c %u /file")?.says("1001")?;
        desk.is_clean("root.img")
    })
}

fn zstd_is_refused(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::singularity(), |desk| {
        desk.script("mkdir -p t/opt/layers && touch t/opt/layers/tool && mksquashfs t tool.sqf -comp zstd -quiet")?;
        desk.refused(desk.srun_in("tool.sqf", "echo RAN")?, "a squashfs file that is compressed with zstd")?;
        let base = desk.exec(&["-b", "/srv/base/base.sqf"], "echo RAN")?;
        desk.refused(base, "/srv/base/base.sqf: SingularityCE does not accept").map(drop)
    })
}

fn without_its_setuid_starter_images_are_refused(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::singularity(), |desk| {
        desk.as_root("sed -i 's/^allow setuid = yes/allow setuid = no/' /etc/singularity/singularity.conf")?
            .success()?;
        desk.image("env.img")?;
        let refused = desk.srun_in("env.img", "echo RAN")?;
        desk.refused(
            refused,
            "mounts image layers only where it is installed setuid, and /usr/bin/singularity is not",
        )?;
        desk.exec(&[], "test -e /etc/condatainer-base && id -u")?.says("1001")?;
        desk.script("mkdir -p d/upper d/work")?.success()?;
        desk.srun_in("./d:rw", "echo kept > /file; cat /file")?.says("kept").map(drop)
    })
}
