//! Cgroups v1 of a machine's own: of the freezer, for Slurm's old way of tracking a step's processes, and where the host has them, of
//! memory, for its limits. The hierarchies are the whole host's, so what Slurm makes there has to be below a group that we can
//! name and remove again.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::files;

/// The file in a scratch directory that names the machine's group, so that a later start can remove it.
const NAME_FILE: &str = "cgroup";

/// In a mount namespace of its own: the hierarchies that there are, in `/mnt`.
const MOUNT: &str = "set -e; mount -t tmpfs tmpfs /mnt; mkdir /mnt/freezer /mnt/memory; mount -t cgroup -o freezer freezer /mnt/freezer;
    mount -t cgroup -o memory memory /mnt/memory 2> /dev/null || rmdir /mnt/memory;";

/// Makes the group `$0`, joins it and becomes the command that follows.
const JOIN: &str = "for dir in /mnt/*; do mkdir $dir/\"$0\"; echo $$ > $dir/\"$0\"/cgroup.procs; done; exec \"$@\"";

/// Removes the group `$0` with all groups below.
const REMOVE: &str =
    "for dir in /mnt/*; do ! [ -d $dir/\"$0\" ] || find $dir/\"$0\" -depth -type d -exec rmdir {} +; done";

/// Whether the host limits memory by cgroups v1, so that a machine can.
#[must_use]
pub fn limits_memory() -> bool {
    // cgroups(7): the name, the number of the hierarchy, of which v2's is 0.
    let table = std::fs::read_to_string("/proc/cgroups").unwrap_or_default();
    let mut memory = table.lines().filter(|line| line.starts_with("memory\t")).flat_map(|line| line.split('\t').nth(1));
    memory.any(|hierarchy| hierarchy != "0")
}

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
    remove(scratch).and_then(|()| files::remove(scratch))
}

fn in_own_mounts(text: &str, name: &str) -> Command {
    let mut command = Command::new("/usr/bin/unshare");
    command
        .args(["--mount", "/bin/sh", "-c", &format!("{MOUNT} {text}"), name])
        .env_clear()
        .env("PATH", crate::machine::host::PATH);
    command
}
