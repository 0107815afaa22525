//! What the three modes of an image promise: `:rw` keeps, `:ro` changes nothing, `:tmp` forgets.

use anyhow::{Result, ensure};

use crate::support::{Desk, Expect, tests};

tests! {
    Apptainer, Desk: [
        rw_persists, ro_is_the_default_and_gives_erofs, ro_changes_no_block_but_the_superblock, four_tasks_share_a_read_only_image,
        a_deleted_file_stays_deleted, a_deleted_directory_stays_deleted, a_replaced_directory_shows_only_what_is_new,
        deletions_hold_under_fakeroot_and_tmp, tmp_writes_vanish, tmp_writes_of_fakeroot_vanish,
        a_directory_can_be_written_to, a_command_has_nothing_of_ours_open,
    ];
}

fn rw_persists(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.srun_in(
        "env.img:rw",
        "mkdir /data && echo kept > /data/file && ln -s file /data/link && echo more >> /etc/condatainer-base",
    )?
    .says("")?;
    desk.srun_in("env.img", "cat /data/link; tail -n1 /etc/condatainer-base; stat -c %u:%g /data")?
        .says("kept\nmore\n1001:1001")?;
    desk.srun_in("env.img:rw", "echo again >> /data/file; cat /data/file")?.says("kept\nagain")?;
    ensure!(desk.files()? == ["env.img"], "something is left beside the image: {:?}", desk.files()?);
    desk.is_clean("env.img")
}

fn ro_is_the_default_and_gives_erofs(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let attempts = "touch /new; mkdir /newdir; rm /opt/layers/env; echo x >> /etc/condatainer-base; echo RAN";
    for layers in ["env.img", "env.img:ro"] {
        let output = desk.srun_in(layers, attempts)?.says("RAN")?;
        let refused = output.stderr.matches("Read-only file system").count();
        ensure!(refused == 4, "{layers}: {refused} of 4 writes gave EROFS: {}", output.stderr);
    }
    Ok(())
}

fn ro_changes_no_block_but_the_superblock(desk: &Desk) -> Result<()> {
    desk.image_with("env.img", "1001:1001", "mkdir data; echo 1 > data/a; ln data/a data/b")?;
    let before = desk.bytes("env.img")?;
    desk.srun_in("env.img", "cat /data/a; touch /data/c /x 2> /dev/null; ls /data | xargs")?.says("1\na b")?;
    let changed = desk.changed_blocks(&before, "env.img")?;
    ensure!(changed.iter().all(|block| *block == 0), "blocks other than the superblock changed: {changed:?}");
    desk.is_clean("env.img")
}

fn four_tasks_share_a_read_only_image(desk: &Desk) -> Result<()> {
    desk.image_with("env.img", "1001:1001", "echo shared > file")?;
    let output = desk
        .srun(&["-n4", "-l", "--condatainer-overlay=env.img", "sh", "-c", "echo $SLURM_PROCID $(cat /file)"])?
        .success()?;
    let mut lines: Vec<_> = output.stdout.lines().collect();
    lines.sort_unstable();
    ensure!(lines == ["0: 0 shared", "1: 1 shared", "2: 2 shared", "3: 3 shared"], "{lines:?}");
    Ok(())
}

/// A layer with something to delete, and an image to delete it in.
fn something_to_delete(desk: &Desk) -> Result<()> {
    desk.image_with("env.img", "1001:1001", "mkdir -p own; echo 1 > own/file")?;
    desk.squashfs(
        "low.sqf",
        "mkdir -p opt/dir/sub opt/keep; echo 1 > opt/file; echo 1 > opt/dir/old; echo 1 > opt/dir/sub/x",
    )
}

/// Runs `change` as a writer; then a reader must see what the writer saw.
fn reader_sees_what_the_writer_saw(desk: &Desk, change: &str, options: &[&str]) -> Result<String> {
    let listing = "cd /opt && find . | sort; cat dir/* 2> /dev/null; true";
    let layers = |mode: &str| format!("--condatainer-overlay=low.sqf,env.img:{mode}");
    let srun = |mode: &str, text: &str| desk.srun(&[options, &[&layers(mode), "sh", "-c", text]].concat());
    let written = srun("rw", &format!("{change}; {listing}"))?.success()?.stdout;
    for mode in ["ro", "tmp"] {
        srun(mode, listing)?.says(written.trim_end())?;
    }
    Ok(written)
}

fn a_deleted_file_stays_deleted(desk: &Desk) -> Result<()> {
    something_to_delete(desk)?;
    let seen = reader_sees_what_the_writer_saw(desk, "rm /opt/file /own/file /etc/condatainer-base", &[])?;
    ensure!(!seen.contains("./file"), "the writer itself still saw it: {seen}");
    desk.srun_in("low.sqf,env.img", "ls /own; ls /etc/condatainer-base")?.ends_with(2)?;
    desk.is_clean("env.img")
}

fn a_deleted_directory_stays_deleted(desk: &Desk) -> Result<()> {
    something_to_delete(desk)?;
    let seen = reader_sees_what_the_writer_saw(desk, "rm -r /opt/dir /opt/keep", &[])?;
    ensure!(!seen.contains("./dir") && !seen.contains("./keep"), "the writer itself still saw them: {seen}");
    desk.is_clean("env.img")
}

fn a_replaced_directory_shows_only_what_is_new(desk: &Desk) -> Result<()> {
    something_to_delete(desk)?;
    let change = "rm -r /opt/dir && mkdir /opt/dir && echo new > /opt/dir/new";
    let seen = reader_sees_what_the_writer_saw(desk, change, &[])?;
    ensure!(seen.contains("./dir/new\n") && !seen.contains("./dir/old"), "{seen}");
    desk.is_clean("env.img")
}

fn deletions_hold_under_fakeroot_and_tmp(desk: &Desk) -> Result<()> {
    desk.root_image("env.img")?;
    desk.squashfs("low.sqf", "mkdir -p opt/dir opt/gone; echo 1 > opt/file; echo 1 > opt/dir/old")?;
    let change = "rm -r /opt/file /opt/gone /opt/dir && mkdir /opt/dir && echo new > /opt/dir/new";
    let seen = reader_sees_what_the_writer_saw(desk, change, &["--condatainer-fakeroot"])?;
    ensure!(!seen.contains("./file") && !seen.contains("./gone") && !seen.contains("./dir/old"), "{seen}");
    Ok(())
}

/// Writes to a `:tmp` layer with a temporary directory of its own, which must be empty afterwards.
fn forgets(desk: &Desk, write: &str, sees: &str) -> Result<()> {
    desk.run(&["mkdir", "scratch"])?.success()?;
    let before = desk.bytes("env.img")?;
    let tmpdir = desk.path("scratch");
    let srun = |text: &str| {
        desk.command().env("TMPDIR", &tmpdir).run(&["srun", "--condatainer-overlay=env.img:tmp", "sh", "-c", text])
    };
    srun(write)?.says(sees)?;
    srun("ls /new /big 2> /dev/null")?.ends_with(2)?;
    let left = desk.as_root("find scratch -mindepth 1")?.success()?.stdout;
    ensure!(left.is_empty(), "left in the temporary directory:\n{left}");
    let changed = desk.changed_blocks(&before, "env.img")?;
    ensure!(changed.iter().all(|block| *block == 0), "the image itself changed in blocks {changed:?}");
    desk.is_clean("env.img")
}

fn tmp_writes_vanish(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let write = "echo x > /new; mkdir -p /d/e; chmod 0 /d/e; rm /opt/layers/env; head -c 100M /dev/zero > /big; stat -c %s /big; cat /new";
    forgets(desk, write, "104857600\nx")
}

fn tmp_writes_of_fakeroot_vanish(desk: &Desk) -> Result<()> {
    desk.root_image("env.img")?;
    forgets(
        desk,
        "echo x > /new; mkdir /d; touch /d/f; chown -R 42:42 /d; chmod 700 /d; stat -c %u:%g /d/f; id -u",
        "42:42\n0",
    )
}

fn a_directory_can_be_written_to(desk: &Desk) -> Result<()> {
    desk.run(&["mkdir", "-p", "layer/upper", "layer/work"])?.success()?;
    desk.srun_in("./layer:rw", "echo kept > /file")?.says("")?;
    desk.srun_in("./layer", "cat /file; touch /new")?.ends_with(1)?.complains("Read-only file system")?;
    ensure!(desk.run(&["cat", "layer/upper/file"])?.stdout == "kept\n", "not in the directory's upper");
    Ok(())
}

/// Also where the engine gets a configuration of ours: for a directory that is only read.
fn a_command_has_nothing_of_ours_open(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.run(&["mkdir", "-p", "layer/upper", "layer/work"])?.success()?;
    for layer in ["env.img", "env.img:rw", "./layer"] {
        let open = desk.exec(&["-o", layer], "ls -l /proc/self/fd")?.success()?.stdout;
        ensure!(!open.contains("memfd:") && !open.contains("socket:"), "{layer}: {open}");
    }
    Ok(())
}
