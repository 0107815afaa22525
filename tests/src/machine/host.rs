//! What the machine itself must have: root, and a handful of tools from Debian's packages.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::progress::say;

/// A tool that we call, and the package that has it.
const TOOLS: [(&str, &str); 11] = [
    ("mmdebstrap", "mmdebstrap"),
    ("mksquashfs", "squashfs-tools"),
    ("mke2fs", "e2fsprogs"),
    ("debugfs", "e2fsprogs"),
    ("mkfs.xfs", "xfsprogs"),
    ("newuidmap", "uidmap"),
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("mount", "mount"),
    ("gpgv", "gpgv"),
];

/// Where tools are looked for, whatever PATH says: a user's PATH often lacks the sbin directories.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Fails with a clear message unless this process is root.
///
/// # Errors
/// When the effective user is not root.
pub fn require_root() -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "the cluster needs root (namespaces, mounts, other users): run it as root, for instance with sudo"
    );
    Ok(())
}

/// Installs the packages whose tools are missing on this machine, says which, and returns their names.
///
/// # Errors
/// When a tool is missing and apt-get cannot install its package.
pub fn ensure_host_packages() -> Result<Vec<&'static str>> {
    let mut missing: Vec<&str> =
        TOOLS.iter().filter(|(tool, _)| !is_installed(tool)).map(|(_, package)| *package).collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(missing);
    }
    say(format!("installing on this machine: {}", missing.join(" ")));
    if apt_get(&[&["install", "-y", "--no-install-recommends"], &missing[..]].concat()).is_err() {
        apt_get(&["update"])?;
        apt_get(&[&["install", "-y", "--no-install-recommends"], &missing[..]].concat())?;
    }
    match TOOLS.iter().find(|(tool, _)| !is_installed(tool)) {
        Some((tool, package)) => bail!("{tool} is still missing after installing {package}: install it by hand"),
        None => Ok(missing),
    }
}

fn is_installed(tool: &str) -> bool {
    PATH.split(':').any(|directory| Path::new(directory).join(tool).exists())
}

fn apt_get(args: &[&str]) -> Result<()> {
    let output = Command::new("apt-get")
        .args(["-qq", "-o", "Dpkg::Use-Pty=0"])
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .output()
        .context("apt-get cannot be started: this machine is not a Debian machine, install the tools by hand")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "apt-get {} failed: {}", args.join(" "), stderr.trim());
    Ok(())
}
