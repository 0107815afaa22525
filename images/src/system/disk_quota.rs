//! Disk quotas, as far as the kernel tells them: local file systems with quotas switched on.
//!
//! Network file systems keep theirs on their servers (NFS, Lustre), and some local ones elsewhere (btrfs); there only the write
//! itself says EDQUOT.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::quota::{Dqblk, QuotaType, quotactl_get};
use nix::sys::stat::{major, minor};
use nix::unistd::{Gid, Uid};

use super::mounts::{self, Mount};

/// The unit of the limits, in bytes.
const UNIT: u64 = 1024;
const SETGID: u32 = 0o2000;

/// What a quota leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    /// Whether it is the group's, else it is the user's own.
    pub(crate) group: bool,
    /// In bytes; `None` without a limit.
    pub(crate) bytes: Option<u64>,
    /// Number of files; `None` without a limit.
    pub(crate) files: Option<u64>,
}

/// The caller's quotas for what is made in `directory`.
pub(crate) fn left(directory: &Path) -> Vec<Left> {
    let Ok(meta) = fs::metadata(directory) else { return Vec::new() };
    let mounts = mounts::read();
    let Some(device) = device_of(&mounts, (major(meta.dev()), minor(meta.dev()))) else { return Vec::new() };
    let gid = if meta.mode() & SETGID != 0 { meta.gid() } else { Gid::effective().as_raw() };
    let ask = |group, kind, id: u32| {
        let quota = quotactl_get(kind, device, i32::from_ne_bytes(id.to_ne_bytes())).ok()?;
        Some(left_of(group, &quota))
    };
    let user = ask(false, QuotaType::USRQUOTA, Uid::effective().as_raw());
    user.into_iter().chain(ask(true, QuotaType::GRPQUOTA, gid)).collect()
}

fn left_of(group: bool, quota: &Dqblk) -> Left {
    Left {
        group,
        bytes: remaining(quota.blocks_hard_limit().map(|limit| limit.saturating_mul(UNIT)), quota.occupied_space()),
        files: remaining(quota.inodes_hard_limit(), quota.allocated_inodes()),
    }
}

/// A limit of 0 is none.
fn remaining(limit: Option<u64>, used: Option<u64>) -> Option<u64> {
    let limit = limit.filter(|&limit| limit > 0)?;
    Some(limit.saturating_sub(used?))
}

/// The block device that a file system lies on.
fn device_of(mounts: &[Mount], numbers: (u64, u64)) -> Option<&Path> {
    let mount = mounts.iter().find(|mount| mount.device == numbers)?;
    Some(Path::new(&mount.source)).filter(|device| device.starts_with("/dev"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &[u8] = b"22 1 8:1 / / rw,noatime shared:1 - ext4 /dev/sda1 rw\n\
        30 22 0:25 / /run rw - tmpfs tmpfs rw\n\
        31 22 8:17 / /home/a\\040b rw master:3 shared:4 - xfs /dev/disk/a\\040b rw,usrquota\n";

    #[test]
    fn devices_of_file_systems() {
        let mounts = mounts::parse(MOUNTS);
        assert_eq!(device_of(&mounts, (8, 1)), Some(Path::new("/dev/sda1")));
        assert_eq!(device_of(&mounts, (8, 17)), Some(Path::new("/dev/disk/a b")));
        assert_eq!(device_of(&mounts, (0, 25)), None, "no device");
        assert_eq!(device_of(&mounts, (9, 9)), None);
    }

    #[test]
    fn what_is_left() {
        assert_eq!(remaining(Some(100), Some(30)), Some(70));
        assert_eq!(remaining(Some(100), Some(130)), Some(0));
        assert_eq!(remaining(Some(0), Some(30)), None, "no limit");
        assert_eq!(remaining(Some(5), None), None);
    }
}
