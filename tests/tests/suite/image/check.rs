//! What is wrong with an image is found and repaired, with real FUSE file systems and containers as the cause of the trouble.

use anyhow::{Result, ensure};
use cluster::Output;
use serde_json::Value;

use crate::image::whiteouts::by_hand;
use crate::image::writers::{alone, killed_writer, while_held};
use crate::support::{Desk, Expect, tests};

tests! {
    Apptainer, Desk: [
        a_killed_writer_is_found_and_repaired, an_image_in_use_is_not_repaired, deletions_are_no_error,
        a_start_replays_a_journal, directories_that_were_made_work_in_a_container, ext4_is_moved_out_as_the_message_says,
    ];
}

fn check(desk: &Desk, arguments: &[&str]) -> Result<Output> {
    desk.run(&[&["condatainer", "overlay", "check"], arguments].concat())
}

fn codes(output: &Output) -> Result<Vec<String>> {
    let report: Value = serde_json::from_str(&output.stdout)?;
    let findings = report["findings"].as_array().into_iter().flatten();
    Ok(findings.filter_map(|finding| finding["code"].as_str().map(String::from)).collect())
}

fn a_killed_writer_is_found_and_repaired(desk: &Desk) -> Result<()> {
    let _alone = alone();
    let carol = killed_writer(desk)?;
    let before = carol.bytes("env.img")?;
    let output = check(&carol, &["env.img"])?.ends_with(1)?;
    output.complains(
        "env.img: it was not unmounted cleanly: its last user was killed, or found the disk full: condatainer overlay check --fix env.img",
    )?;
    let found = codes(&check(&carol, &["--json", "env.img"])?.ends_with(1)?)?;
    ensure!(found.first().is_some_and(|code| code == "not-clean"), "{found:?}");
    ensure!(carol.bytes("env.img")? == before, "a look changed the image");
    check(&carol, &["--fix", "env.img"])?.ends_with(0)?.complains("env.img: all of this was fixed")?;
    carol.is_clean("env.img")?;
    carol.srun_in("env.img:rw", "cat /data; tail -n1 /d/file")?.says("synced\n2000")?.without_a_word()?;
    check(&carol, &["env.img"])?.ends_with(0)?.complains("env.img: a sound ext3")?;
    Ok(())
}

fn an_image_in_use_is_not_repaired(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    while_held(desk, "rw", |job| {
        for arguments in [&["env.img"][..], &["--fix", "env.img"], &["--fix=force", "env.img"]] {
            let output = check(desk, arguments)?.ends_with(1)?;
            output.complains(&format!("is in use (locked for writing by user alice, job {job}.0, process "))?;
        }
        Ok(())
    })?;
    while_held(desk, "ro", |_| {
        check(desk, &["env.img"])?.ends_with(0)?.complains("somebody is reading it")?;
        check(desk, &["--fix", "env.img"])?.ends_with(1)?.complains("is in use (locked for reading")?;
        Ok(())
    })?;
    desk.is_clean("env.img")
}

/// Those of a writer who came without us; ours translates its own at its end.
fn deletions_are_no_error(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    by_hand(desk, "env.img", "rm /etc/condatainer-base")?.says("")?;
    let output = check(desk, &["--json", "env.img"])?.ends_with(0)?;
    ensure!(codes(&output)? == ["fuse-whiteouts"], "{}", output.stdout);
    by_hand(desk, "env.img:ro", "ls /etc/condatainer-base")?.says("/etc/condatainer-base")?;
    check(desk, &["--fix", "env.img"])?.ends_with(0)?;
    ensure!(codes(&check(desk, &["--json", "env.img"])?)?.is_empty(), "it is still there");
    by_hand(desk, "env.img:ro", "ls /etc/condatainer-base")?.ends_with(2)?;
    desk.is_clean("env.img")
}

/// The copy of an image that a kernel has mounted and written to, as a crash of that machine leaves it.
fn a_start_replays_a_journal(desk: &Desk) -> Result<()> {
    desk.image("live.img")?;
    let crash = "set -e; mkdir mnt; mount -o loop live.img mnt; echo synced > mnt/upper/data; sync mnt/upper/data
        cp live.img env.img; cp live.img read.img; umount mnt; chown --reference=live.img env.img read.img";
    desk.as_root(crash)?.success()?;
    check(desk, &["env.img"])?.ends_with(1)?.complains("its journal has not been replayed")?;
    desk.run(&["chmod", "a-w", "read.img"])?.success()?;
    let refused = desk.with_mounts("engine").srun_in("read.img", "echo RAN")?;
    desk.refused(refused, "its journal was not replayed")?;
    desk.with_mounts("own").srun_in("read.img", "cat /data")?.says("synced")?.without_a_word()?;
    let output = desk.srun_in("env.img:rw", "cat /data")?.says("synced")?;
    output.complains("env.img: its journal was not replayed after a crash: replaying it")?;
    desk.srun_in("env.img", "cat /data")?.says("synced")?.without_a_word()?;
    desk.is_clean("env.img")
}

fn directories_that_were_made_work_in_a_container(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.as_root("/sbin/debugfs -w -R 'rmdir /work' env.img")?.success()?;
    check(desk, &["env.img"])?.ends_with(1)?.complains("there is no directory work/")?;
    check(desk, &["--fix", "env.img"])?.ends_with(0)?;
    ensure!(desk.files()? == ["env.img"], "something is left beside the image: {:?}", desk.files()?);
    desk.srun_in("env.img:rw", "ls /opt/layers; echo more > /more")?.says("env")?;
    desk.srun_in("env.img", "cat /more")?.says("more")?;
    desk.is_clean("env.img")
}

/// The advice is typed as it stands, with the three names filled in.
fn ext4_is_moved_out_as_the_message_says(desk: &Desk) -> Result<()> {
    let make = "set -e; mkdir -p t/upper/a/b t/work; echo kept > t/upper/a/b/file; truncate -s 64M old.img
        mke2fs -q -F -t ext4 -d t old.img; rm -r t";
    desk.script(&format!("PATH=$PATH:/sbin; {make}"))?.success()?;
    let output = check(desk, &["old.img"])?.ends_with(1)?.complains("Apptainer refuses features newer than ext3")?;
    let advice = output.stderr.split_once("copy the files (").and_then(|(_, rest)| rest.split_once(")\n"));
    let Some((advice, _)) = advice else { anyhow::bail!("no advice in {}", output.stderr) };
    let advice = advice.replace("SIZE", "64M").replace("NEW.img", "new.img").replace("DIR", &desk.path("out"));
    desk.script(&format!("PATH=$PATH:/sbin; set -e; mkdir out; {advice}"))?.success()?;
    desk.srun_in("new.img", "cat /a/b/file")?.says("kept")?;
    desk.is_clean("new.img")
}
