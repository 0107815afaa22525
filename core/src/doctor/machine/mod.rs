//! The machine: its kernel, user namespaces, overlays, /dev/fuse; cgroups and GPUs for information.

mod facts;
mod read;
#[cfg(test)]
mod tests;

use crate::doctor::check::Check;
use crate::doctor::request::Asker;
use crate::machine::version::{self, Version};
use std::path::Path;

use facts::{Device, Facts, Tried};

pub(crate) use read::read;

/// FUSE can be mounted in user namespaces since.
const FUSE_IN_NAMESPACES: Version = Version(4, 18, 0);
/// So can overlays.
const OVERLAY_IN_NAMESPACES: Version = Version(5, 11, 0);
const FOR_OTHERS: u32 = 0o006;
const FOR_THE_GROUP: u32 = 0o060;

pub(crate) fn judge(facts: &Facts, asker: &Asker) -> Vec<Check> {
    vec![
        kernel(facts),
        namespaces(facts),
        overlay(facts),
        fuse(facts.fuse.as_ref(), asker.is_root()),
        Check::ok("cgroup", facts.cgroup),
        gpu(facts),
    ]
}

fn kernel(facts: &Facts) -> Check {
    let release = &facts.kernel;
    match version::parse(release) {
        Some(version) if version < FUSE_IN_NAMESPACES => Check::failed(
            "kernel",
            format!("{release} cannot mount images in a user namespace"),
            format!("install Linux {FUSE_IN_NAMESPACES} or later"),
        ),
        _ => Check::ok("kernel", release.as_str()),
    }
}

fn namespaces(facts: &Facts) -> Check {
    const ID: &str = "user-namespaces";
    let failed = |found: String, cure: &str| Check::failed(ID, found, cure);
    match (&facts.namespaces, facts.max_user_namespaces, facts.userns_clone) {
        (_, Some(0), _) => failed(
            "switched off: user.max_user_namespaces is 0".into(),
            "as root: sysctl -w user.max_user_namespaces=15000",
        ),
        (_, _, Some(0)) => failed(
            "switched off: kernel.unprivileged_userns_clone is 0".into(),
            "as root: sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        (Tried::Worked, max, _) => {
            Check::ok(ID, max.map_or_else(|| "work".into(), |max| format!("work, up to {max} for each user")))
        }
        (Tried::Failed(why), ..) if facts.apparmor == Some(1) => restricted(facts.profile.as_deref(), why),
        (Tried::Failed(why), ..) => failed(
            format!("cannot be made: {why}"),
            "if this is inside another container, allow them there; else look at the kernel log for what refuses them",
        ),
        (Tried::No(why), ..) => Check::ok(ID, format!("are switched on (not tried: {why})")),
    }
}

/// AppArmor refuses unshare(1), which has no profile, and lets programs that have one do it. A program that one with our profile starts
/// keeps that profile, unless it has its own.
fn restricted(profile: Option<&Path>, why: &str) -> Check {
    const ID: &str = "user-namespaces";
    match profile {
        Some(profile) => Check::warning(
            ID,
            format!("restricted by AppArmor; {} should allow them", profile.display()),
            "see whether a container starts: condatainer doctor --start",
        ),
        None => Check::failed(
            ID,
            format!("refused by AppArmor, which has no profile for condatainer or the engine ({why})"),
            "as root: load ours (ln -s PREFIX/share/condatainer/apparmor /etc/apparmor.d/condatainer, apparmor_parser -r /etc/apparmor.d/condatainer), or sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    }
}

fn overlay(facts: &Facts) -> Check {
    const ID: &str = "overlayfs";
    let is_old = version::parse(&facts.kernel).is_some_and(|version| version < OVERLAY_IN_NAMESPACES);
    match &facts.overlay {
        Tried::Worked => Check::ok(ID, "mounts in a user namespace"),
        Tried::No(why) => Check::skipped(ID, format!("not tried: {why}")),
        Tried::Failed(_) if is_old => Check::warning(
            ID,
            format!(
                "kernel {} is older than {OVERLAY_IN_NAMESPACES} and mounts none in a user namespace: fuse-overlayfs does the work, slower",
                facts.kernel
            ),
            format!("install Linux {OVERLAY_IN_NAMESPACES} or later"),
        ),
        Tried::Failed(why) => Check::warning(
            ID,
            format!("does not mount in a user namespace ({why}): fuse-overlayfs does the work, slower"),
            "as root: modprobe overlay, and 'overlay' in /etc/modules-load.d",
        ),
    }
}

/// Root may open whatever there is, so that for root the mode tells what users may.
fn fuse(device: Option<&Device>, is_root: bool) -> Check {
    const ID: &str = "dev-fuse";
    const CURE: &str = "as root: chmod 666 /dev/fuse, and a udev rule that keeps it: KERNEL==\"fuse\", MODE=\"0666\"";
    let Some(device) = device else {
        return Check::failed(ID, "there is no /dev/fuse", "as root: modprobe fuse, and 'fuse' in /etc/modules-load.d");
    };
    let (mode, has) = (device.mode, |bits: u32| device.mode & bits == bits);
    match &device.problem {
        Some(why) if has(FOR_OTHERS) => {
            Check::failed(ID, format!("/dev/fuse cannot be opened: {why}"), "as root: modprobe fuse")
        }
        Some(why) => Check::failed(ID, format!("/dev/fuse has mode {mode:04o} and cannot be opened: {why}"), CURE),
        None if is_root && !has(FOR_OTHERS) && device.gid != 0 && has(FOR_THE_GROUP) => Check::warning(
            ID,
            format!("/dev/fuse has mode {mode:04o}: only members of group {} can use it", device.gid),
            CURE,
        ),
        None if is_root && !has(FOR_OTHERS) => {
            Check::failed(ID, format!("/dev/fuse has mode {mode:04o}: users cannot open it"), CURE)
        }
        None => Check::ok(ID, format!("/dev/fuse opens (mode {mode:04o})")),
    }
}

fn gpu(facts: &Facts) -> Check {
    let found = if facts.gpus.is_empty() { "no devices".into() } else { facts.gpus.join(", ") };
    Check::ok("gpu", found)
}
