//! A cgroup v1 freezer group of a machine's own, for Slurm's old way of tracking a step's processes. The hierarchy is the
//! whole host's, so what Slurm makes there has to be below a group that we can name and remove again.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cache;

/// The file in a scratch directory that names the machine's group, so that a later start can remove it.
const NAME_FILE: &str = "cgroup";

/// In a mount namespace of its own, makes the group `$1`, joins it and becomes the command that follows.
const JOIN: &str =
    "mount -t cgroup -o freezer freezer /mnt && mkdir /mnt/\"$0\" && echo $$ > /mnt/\"$0\"/cgroup.procs && exec \"$@\"";

/// Removes the group `$0` with all groups below.
const REMOVE: &str = "mount -t cgroup -o freezer freezer /mnt && { ! [ -d /mnt/\"$0\" ] || find /mnt/\"$0\" -depth -type d -exec rmdir {} +; }";

/// The command that runs what is appended to it as a member of the scratch directory's own new group.
pub(crate) fn join(scratch: &Path) -> Result<Command> {
    let name = format!("condatainer-{}", scratch.file_name().unwrap_or_default().to_string_lossy());
    let file = scratch.join(NAME_FILE);
    std::fs::write(&file, &name).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(in_own_mounts(JOIN, &name))
}

/// Removes the group of a scratch directory whose machine is gone, if it had one.
pub(crate) fn remove(scratch: &Path) -> Result<()> {
    let Ok(name) = std::fs::read_to_string(scratch.join(NAME_FILE)) else { return Ok(()) };
    let output = in_own_mounts(REMOVE, &name).output().context("unshare cannot be started")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cannot remove the cgroup {name}: {}", stderr.trim());
    Ok(())
}

/// Removes a scratch directory and the group that belongs to it.
pub(crate) fn remove_with(scratch: &Path) -> Result<()> {
    remove(scratch).and_then(|()| cache::remove(scratch))
}

fn in_own_mounts(text: &str, name: &str) -> Command {
    let mut command = Command::new("/usr/bin/unshare");
    command.args(["--mount", "/bin/sh", "-c", text, name]).env_clear().env("PATH", crate::host::PATH);
    command
}
