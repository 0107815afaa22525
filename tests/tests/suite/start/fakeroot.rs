//! Fakeroot: automatic, for users with a subuid range (alice) and without (bob), and refused where it cannot work.

use anyhow::{Result, ensure};

use crate::support::{Desk, Expect, tests};

const TURNED_ON: &str = "fakeroot turned on: ";

tests! {
    Apptainer, Desk: [
        automatic_with_a_subuid_range, automatic_without_a_subuid_range, automatic_for_readers_too,
        not_for_images_of_the_user, asked_for_on_an_image_of_the_user, no_fakeroot_cannot_write_a_root_image,
        no_fakeroot_can_read_a_root_image, root_mapped_cannot_write_an_image_of_the_user, nothing_to_write_is_said,
        an_image_of_somebody_else_is_refused_with_the_cure, batch_scripts_too,
        a_command_that_becomes_another_user_keeps_its_files,
    ];
}

fn automatic_with_a_subuid_range(desk: &Desk) -> Result<()> {
    desk.root_image("env.img")?;
    let text = "id -u; touch /file; mkdir /daemon; chown 42:42 /daemon; stat -c %u:%g /file /daemon | xargs";
    let output = desk.srun_in("env.img:rw", text)?.says("0\n0:0 42:42")?;
    output.complains(&format!("{TURNED_ON}{}", desk.path("env.img")))?;
    desk.srun_in("env.img:rw", "stat -c %u:%g /file /daemon | xargs; touch /daemon/more")?.says("0:0 42:42")?;
    desk.is_clean("env.img")
}

/// Our program may not signal a subordinate id, and must not take that for the command's end.
fn a_command_that_becomes_another_user_keeps_its_files(desk: &Desk) -> Result<()> {
    desk.root_image("env.img")?;
    let other =
        "import os, time; os.setgid(42); os.setuid(42); time.sleep(2); print(os.getuid(), len(os.listdir('/usr')) > 5)";
    desk.srun(&["--condatainer-overlay=env.img:rw", "python3", "-c", other])?.says("42 True")?;
    desk.is_clean("env.img")
}

fn automatic_without_a_subuid_range(desk: &Desk) -> Result<()> {
    let bob = desk.of("bob")?;
    bob.root_image("env.img")?;
    bob.srun_in("env.img:rw", "id -u; echo kept > /file; stat -c %u:%g /file")?.says("0\n0:0")?.complains(TURNED_ON)?;
    bob.srun_in("env.img", "id -u; cat /file")?.says("0\nkept")?.complains(TURNED_ON)?;
    bob.is_clean("env.img")
}

fn automatic_for_readers_too(desk: &Desk) -> Result<()> {
    desk.root_image("env.img")?;
    let output = desk
        .srun_in("env.img", "id -u; touch /file")?
        .ends_with(1)?
        .complains(TURNED_ON)?
        .complains("Read-only file system")?;
    ensure!(output.stdout == "0\n", "{}", output.stdout);
    Ok(())
}

fn not_for_images_of_the_user(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.srun_in("env.img:rw", "id -u")?.says("1001")?.without_a_word()?;
    Ok(())
}

fn asked_for_on_an_image_of_the_user(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.srun(&["--condatainer-fakeroot", "--condatainer-overlay=env.img:rw", "sh", "-c", "id -u; touch /file"])?
        .says("0")?
        .without_a_word()?;
    desk.is_clean("env.img")
}

/// Where the engine writes it. Where we do, root's files are the user's.
fn no_fakeroot_cannot_write_a_root_image(desk: &Desk) -> Result<()> {
    desk.root_image("env.img")?;
    let start = |who: &'static str| {
        let words =
            ["--condatainer-no-fakeroot", "--condatainer-overlay=env.img:rw", "sh", "-c", "echo RAN > /ran; cat /ran"];
        desk.with_mounts(who).srun(&words)
    };
    start("own")?.says("RAN")?;
    let output = start("engine")?;
    let text = "its upper belongs to 0:0 and you are 1001:1001, so plain mode cannot write it: run 'condatainer overlay chown ";
    desk.refused(output, text)?.complains("or drop --no-fakeroot")?.ends_with(125).map(drop)
}

fn no_fakeroot_can_read_a_root_image(desk: &Desk) -> Result<()> {
    desk.image_with("env.img", "0:0", "echo 1 > file")?;
    let output =
        desk.srun(&["--condatainer-no-fakeroot", "--condatainer-overlay=env.img", "sh", "-c", "id -u; cat /file"])?;
    output.says("1001\n1")?.without_a_word().map(drop)
}

fn root_mapped_cannot_write_an_image_of_the_user(desk: &Desk) -> Result<()> {
    let bob = desk.of("bob")?;
    bob.image("env.img")?;
    let start = |who: &'static str| {
        let words =
            ["--condatainer-fakeroot", "--condatainer-overlay=env.img:rw", "sh", "-c", "echo RAN > /ran; cat /ran"];
        bob.with_mounts(who).srun(&words)
    };
    start("own")?.says("RAN")?;
    let output = start("engine")?;
    let text = "its upper belongs to 1002:1002, and fakeroot without a subuid range can write as root only: run 'condatainer overlay chown --root ";
    desk.refused(output, text)?.complains("or drop --fakeroot")?.ends_with(125)?;
    bob.srun(&["--condatainer-overlay=env.img:rw", "id", "-u"])?.says("1002")?;
    Ok(())
}

fn nothing_to_write_is_said(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let output = desk.srun(&["--condatainer-fakeroot", "--condatainer-overlay=env.img", "id", "-u"])?.says("0")?;
    output.complains("fakeroot without a writable image: nothing can be written").map(drop)
}

fn an_image_of_somebody_else_is_refused_with_the_cure(desk: &Desk) -> Result<()> {
    desk.image_with("env.img", "1003:1003", "")?;
    let text = "its upper belongs to 1003:1003 and you are 1001:1001, so plain mode cannot write it: run 'condatainer overlay chown ";
    desk.with_mounts("own").srun_in("env.img:rw", "echo RAN > /ran; cat /ran")?.says("RAN")?;
    let output = desk.with_mounts("engine").srun_in("env.img:rw", "echo RAN")?;
    desk.refused(output, text)?.complains("or use --fakeroot").map(drop)
}

fn batch_scripts_too(desk: &Desk) -> Result<()> {
    desk.root_image("env.img")?;
    let (job, text) = desk.batch(&["--condatainer-overlay=env.img:rw"], "#!/bin/sh\nid -u\ntouch /file\n")?;
    ensure!(job.code == 0 && text.contains(TURNED_ON) && text.ends_with("\n0\n"), "{job:?} {text}");
    Ok(())
}
