//! Resizing as its users need it: a full image grows and takes what did not fit, and one that is in use is left alone.

use anyhow::{Result, ensure};

use crate::support::{Desk, Expect, tests};

tests! {
    Apptainer, Desk: [a_full_image_grows_and_shrinks_again, an_image_in_use_is_refused_with_its_holder];
}

fn resize(desk: &Desk, arguments: &[&str]) -> Result<cluster::Output> {
    desk.run(&[&["condatainer", "overlay", "resize"], arguments, &["env.img"]].concat())
}

fn a_full_image_grows_and_shrinks_again(desk: &Desk) -> Result<()> {
    let write = "head -c 56M /dev/zero > /big && stat -c %s /big";
    let kept = "cd /kept && sha256sum --check --quiet sums && ls | wc -l && stat -c %u:%g:%a d";
    desk.run(&["condatainer", "o", "-s", "64M"])?.success()?;
    desk.srun_in(
        "env.img:rw",
        "mkdir -p /kept/d && cd /kept && chmod 2750 d && head -c 8M /dev/urandom > noise && seq 100000 > numbers &&
        rm /etc/condatainer-base && sha256sum noise numbers > sums",
    )?
    .says("")?;
    desk.srun_in("env.img:rw", write)?.ends_with(1)?.complains("No space left on device")?;

    resize(desk, &["--free", "70M"])?.success()?.complains("env.img: grown from 64.00 MiB to 1")?;
    desk.srun_in("env.img:rw", write)?.says("58720256")?;
    desk.srun_in("env.img", kept)?.says("4\n1001:1001:2750")?;
    desk.is_clean("env.img")?;

    let refused =
        resize(desk, &["-s", "64M"])?.ends_with(1)?.complains("too small for what it holds; the least is ")?;
    let least =
        refused.stderr.rsplit_once("the least is ").and_then(|(_, least)| least.split(' ').next()?.parse::<u32>().ok());
    // What lies in it has 64 MiB already.
    ensure!(least.is_some_and(|least| (65..=140).contains(&least)), "{refused:?}");
    desk.srun_in("env.img:rw", "rm /big")?.says("")?;
    resize(desk, &["-s", "64M"])?.success()?.complains("to 64.00 MiB")?;
    desk.srun_in("env.img", kept)?.says("4\n1001:1001:2750")?;
    desk.srun_in("env.img", "ls /etc/condatainer-base")?.ends_with(2)?;
    resize(desk, &["--free", "10M"])?.success()?.complains("already has ")?;
    ensure!(desk.files()? == ["env.img"], "something is left beside the image: {:?}", desk.files()?);
    desk.is_clean("env.img")
}

fn an_image_in_use_is_refused_with_its_holder(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let hold = "srun --condatainer-overlay=env.img:rw sh -c 'touch held; while [ -e held ]; do sleep 0.1; done' > /dev/null 2>&1 &";
    desk.script(hold)?.success()?;
    desk.wait_until("[ -e held ]")?;
    for option in [&["-s", "+100M"][..], &["--free", "1G", "--in-place"], &["-s", "+100M", "--dry-run"]] {
        let output = resize(desk, option)?.ends_with(1)?;
        output.complains("env.img: is in use (locked for writing by user alice, job ")?.complains(" on n1)")?;
    }
    desk.run(&["rm", "held"])?.success()?;
    desk.wait_until("condatainer overlay resize -s +100M env.img")?;
    desk.srun_in("env.img:rw", "head -c 70M /dev/zero > /big; stat -c %s /big")?.says("73400320")?;
    desk.is_clean("env.img")
}
