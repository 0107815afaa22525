//! A disk that fails below a `:rw` image that our server writes.

use anyhow::{Result, ensure};

use super::servers::{nothing_is_left, ours};
use crate::support::{Desk, Expect, tests};

tests! {
    ApptainerOnce, Desk: [
        a_disk_that_fails_is_said,
    ];
}

/// A disk that promised room and has none: what was synced before is there, and the rest is said to be lost.
fn a_disk_that_fails_is_said(desk: &Desk) -> Result<()> {
    let make =
        "mkdir under failing; mount -t tmpfs -o size=24m under under; truncate -s 120M under/disk; PATH=$PATH:/usr/sbin
        mke2fs -q -F -t ext4 -O ^has_journal -m 0 under/disk; mount -o loop under/disk failing; chown alice failing";
    desk.as_root(make)?.success()?;
    desk.image("failing/env.img")?;
    let write = "echo first > /first; sync /first && echo synced; head -c 30M /dev/zero | tr \"\\\\0\" x > /big; sync /big; echo $?; echo more > /more && echo written; exit 0";
    for start in ["condatainer exec -w -o failing/env.img --", "srun --condatainer-overlay=failing/env.img:rw"] {
        let output = ours(desk, &format!("{start} sh -c '{write}'"))?.ends_with(1)?;
        ensure!(output.stdout == "synced\n1\n", "{start}: {output:?}");
        // A loop device passes on what its file could not have.
        let output = output.complains("No space left on device")?;
        if start.starts_with("condatainer") {
            output.complains("failing/env.img: the journal could not be written")?;
        }
        // There is room again, and what was only in memory is not.
        desk.as_root("mount -o remount,size=200m under; umount failing; mount -o loop under/disk failing")?
            .success()?;
        ours(desk, "condatainer exec -w -o failing/env.img -- sh -c 'cat /first; rm -f /big /more'")?.says("first")?;
        desk.is_clean("failing/env.img")?;
        desk.as_root("umount failing; fallocate -d under/disk; mount -o remount,size=24m under; mount -o loop under/disk failing")?.success()?;
    }
    nothing_is_left(desk)?;
    desk.as_root("umount failing under").map(drop)
}
