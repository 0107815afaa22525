//! Starts whose layers we mount, and the processes that serve them.

use anyhow::Result;
use cluster::Output;

use crate::support::{Desk, Expect};

/// Nobody can look into a server. The limit of resident memory does nothing in Linux, goes from a process to its children and with Slurm to a
/// step's node, and everybody may read it: it marks what was started here.
pub(super) const MARK: &str = "mark=$(echo $PWD | cksum | cut -c1-6); ulimit -S -m $mark; ";
/// What [`BY`] says where we mount the layers.
pub(super) const OURS: &str = "ours";
/// Says who has mounted the container's root.
pub(super) const BY: &str = "if grep -q \" / fuse.condatainer \" /proc/mounts; then echo ours; else echo engine; fi";
/// The servers of what was started here.
const SERVERS: &str = "servers() { for s in $(pgrep -u alice -f '[s]erve-stack'); do \
    awk '/^Max resident set/ { print $4 / 1024 }' /proc/$s/limits 2> /dev/null | grep -qx \"$mark\" && echo $s; done; }; ";

/// A module, and an image with a file of its own.
pub(super) fn two_layers(desk: &Desk) -> Result<()> {
    desk.squashfs("mod.sqf", "mkdir -p opt/mod; echo module > opt/mod/file; ln opt/mod/file opt/mod/link")?;
    desk.image_with("env.img", "1001:1001", "mkdir own; echo image > own/file; ln own/file own/link")
}

/// A bash text with our mounts.
pub(super) fn ours(desk: &Desk, text: &str) -> Result<Output> {
    desk.script(&format!("export CONDATAINER_MOUNTS=own; {MARK}{SERVERS}{text}"))
}

/// No server, and with it no mount and no lock: a server ends when its mount's namespace does.
pub(super) fn nothing_is_left(desk: &Desk) -> Result<()> {
    desk.wait_until(&format!("{MARK}{SERVERS} [ -z \"$(servers)\" ]"))?;
    desk.script("grep fuse.condatainer /proc/mounts")?.without_stdout()?;
    desk.script("[ ! -e env.img ] || condatainer overlay info env.img | grep -q '^locked by *nobody'")?
        .success()
        .map(drop)
}
