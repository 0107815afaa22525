//! Asks the kernel; what can be tried is tried.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::libc;
use nix::sys::utsname::uname;

use super::facts::{Device, Facts, Tried};
use crate::doctor::request::Asker;
use crate::machine::ask::ask_by;
use condatainer_images::tools::programs;

/// The user whom root borrows for the attempt, since root may make namespaces where users may not.
const NOBODY: u32 = 65_534;
const GPUS: [&str; 2] = ["/dev/nvidiactl", "/dev/kfd"];

pub(crate) fn read(asker: &Asker) -> Facts {
    let namespaces = attempt(asker, &["--user", "--map-root-user", "--mount", "true"]);
    let overlay = match namespaces {
        Tried::Worked => attempt(asker, &OVERLAY),
        _ => Tried::No("there are no user namespaces".into()),
    };
    Facts {
        kernel: uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default(),
        max_user_namespaces: number("/proc/sys/user/max_user_namespaces"),
        userns_clone: number("/proc/sys/kernel/unprivileged_userns_clone"),
        apparmor: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
        profile: profile(),
        namespaces,
        overlay,
        fuse: device(Path::new("/dev/fuse")),
        cgroup: cgroup(),
        gpus: GPUS.into_iter().filter(|path| Path::new(path).exists()).collect(),
    }
}

/// Without an upper, as a stack is that is only read. The mount ends with its namespace.
const OVERLAY: [&str; 10] =
    ["--user", "--map-root-user", "--mount", "mount", "-t", "overlay", "overlay", "-o", "lowerdir=/etc:/usr", "/etc"];

fn attempt(asker: &Asker, arguments: &[&str]) -> Tried {
    let Some(unshare) = programs::find("unshare") else { return Tried::No("there is no unshare(1) here".into()) };
    let mut command = Command::new(unshare);
    command.args(arguments).current_dir("/");
    if asker.is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    match ask_by(command) {
        Ok(answer) if answer.success => Tried::Worked,
        Ok(answer) => Tried::Failed(answer.complaint()),
        Err(error) => Tried::No(error.to_string()),
    }
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn profile() -> Option<PathBuf> {
    let entries = fs::read_dir("/etc/apparmor.d").into_iter().flatten().flatten();
    let is_known = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        ["condatainer", "apptainer", "singularity"].iter().any(|known| name.contains(known))
    };
    entries.map(|entry| entry.path()).find(is_known)
}

fn device(path: &Path) -> Option<Device> {
    let meta = fs::metadata(path).ok().filter(|meta| meta.file_type().is_char_device())?;
    let opened = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path);
    let problem = opened.err().map(|error| error.to_string());
    Some(Device { mode: meta.mode() & 0o777, gid: meta.gid(), problem })
}

/// From what is mounted: the unified hierarchy, controllers of the old one, or both.
fn cgroup() -> &'static str {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let has = |kind: &str| mounts.lines().any(|line| line.split(' ').nth(2) == Some(kind));
    match (has("cgroup"), has("cgroup2")) {
        (true, true) => "v1 and v2",
        (true, false) => "v1",
        (false, true) => "v2",
        (false, false) => "none",
    }
}
