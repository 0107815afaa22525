//! What holds whichever engine starts the containers; the themes of other engines than Debian's Apptainer run it on their clusters.

use anyhow::Result;

use crate::image::writers::while_held;
use crate::support::{Desk, Expect, WHERE};

/// Leaves a process behind in the container that goes on writing, and is deaf.
pub(crate) const LEAVE_A_WRITER: &str =
    "trap '' TERM; (while :; do echo x >> /file; sleep 0.1; done) > /dev/null 2>&1 & echo started";

/// Exit codes and signals come through, in a step and by hand, and what a command saves when it is ended is kept.
pub(crate) fn a_command_ends_as_without_a_container(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    for code in [0, 7, 255] {
        desk.srun_in("env.img", &format!("exit {code}"))?.ends_with(code)?;
    }
    desk.srun(&["--condatainer-overlay=env.img", "no-such-command"])?.ends_with(127)?;
    desk.script("echo text > plain")?.success()?;
    desk.srun(&["--condatainer-overlay=env.img", &desk.path("plain")])?.ends_with(126)?;
    desk.exec(&["-o", "env.img"], "kill -USR1 $$")?.ends_with(128 + 10)?;
    desk.srun_in("env.img", "kill -USR1 $$")?.ends_with(128 + 10)?.complains("User defined signal 1")?;
    let text = "condatainer exec -o env.img:rw -- sh -c 'trap \"echo saved > /saved; exit 3\" TERM; touch ready; sleep 30 & wait' &
            while ! [ -e ready ]; do sleep 0.1; done; kill -TERM $!; wait $!";
    desk.script(text)?.ends_with(3)?;
    desk.exec(&["-o", "env.img"], "cat /saved")?.says("saved")?;
    desk.is_clean("env.img")
}

/// A writer has the image alone, readers share it; `as_written` looks at it while it is written to.
pub(crate) fn writers_and_readers_exclude_each_other(
    desk: &Desk,
    as_written: impl FnOnce() -> Result<()>,
) -> Result<()> {
    desk.image("env.img")?;
    while_held(desk, "rw", |job| {
        let holder = format!("in use for writing by user alice, job {job}.0, process ");
        for mode in ["rw", "ro", "tmp"] {
            desk.refused(desk.srun_in(&format!("env.img:{mode}"), "echo RAN")?, &holder)?.ends_with(125)?;
        }
        as_written()
    })?;
    while_held(desk, "ro", |_| {
        desk.srun_in("env.img", WHERE)?.says("inside env")?;
        desk.refused(desk.srun_in("env.img:rw", "echo RAN")?, "in use by readers, so it cannot be :rw now").map(drop)
    })
}
