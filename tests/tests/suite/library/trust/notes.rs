//! The note that a writer leaves beside its image, in a directory where others can put something else in its place.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::place;
use crate::support::{Desk, Expect, tests};

tests! {
    Apptainer, Desk: [what_is_in_the_notes_place_hinders_nobody];
    ApptainerOnce, Desk: [a_note_is_of_whoever_wrote_it];
}

/// Longer than any step takes to end; shorter than Slurm waits before it drains the node.
const SOON: Duration = Duration::from_secs(50);

/// A fifo that nobody ever writes to, and a file without end.
const PUTS: [&str; 3] = ["mkfifo NOTE", "ln -s /dev/zero NOTE", "mkdir NOTE"];

fn what_is_in_the_notes_place_hinders_nobody(desk: &Desk) -> Result<()> {
    let dir = place(desk, "777")?;
    let (image, note) = (format!("{dir}/env.img"), format!("{dir}/.env.img.holder"));
    desk.image(&image)?;
    let hold = "sh -c 'touch held; while [ -e held ]; do sleep 0.1; done; echo written > /result'";
    let step = format!("srun --condatainer-overlay={image}:rw {hold}");
    for writer in [step, format!("condatainer exec -w -o {image} {hold}")] {
        for put in PUTS {
            let put = put.replace("NOTE", &note);
            desk.script(&format!(
                "rm -f ended; {{ {writer} > said 2>&1; echo $? > ended; }} < /dev/null > /dev/null 2>&1 &"
            ))?
            .success()?;
            desk.wait_until(&format!("[ -e held ] && [ -f {note} ]"))?;
            desk.of("bob")?.script(&format!("rm {note} && {put}"))?.success()?;
            // Whoever comes second is refused as ever, at once.
            desk.exec(&["-o", &image], "true")?.ends_with(125)?.complains("in use for writing by ")?;
            let start = Instant::now();
            desk.script("rm held")?.success()?;
            desk.wait_until("[ -s ended ]")?;
            let took = start.elapsed();
            let ended = desk.script("cat ended said")?.success()?.stdout;
            ensure!(ended.lines().next() == Some("0") && took < SOON, "{writer}: {put}: {took:?} {ended}");
            // It is not ours, so it stays.
            desk.as_root(&format!("[ -e {note} ] && rm -rf {note}"))?.success()?;
        }
    }
    desk.nodes_are_well()?;
    desk.is_clean(&image)
}

/// Bob cannot say that carol has the image.
fn a_note_is_of_whoever_wrote_it(desk: &Desk) -> Result<()> {
    let dir = place(desk, "777")?;
    desk.image(&format!("{dir}/env.img"))?;
    desk.script(&format!(
        "condatainer exec -w -o {dir}/env.img sh -c 'touch held; while [ -e held ]; do sleep 0.1; done' > /dev/null 2>&1 &"
    ))?
    .success()?;
    desk.wait_until(&format!("[ -e held ] && [ -f {dir}/.env.img.holder ]"))?;
    let forged = format!("cd {dir} && sed s/alice/carol/ .env.img.holder > forged && mv -f forged .env.img.holder");
    desk.of("bob")?.script(&forged)?.success()?;
    let refused = desk.exec(&["-o", &format!("{dir}/env.img")], "true")?.ends_with(125)?;
    refused.complains("in use for writing by user bob, process ")?;
    desk.script("rm held")?.success()?;
    desk.as_root(&format!("rm -f {dir}/.env.img.holder"))?.success().map(drop)
}
