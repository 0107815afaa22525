//! The file system that a path lies on.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::stat::{major, minor};

use condatainer_images::system::mounts::{self, Mount};

/// File systems that several machines mount at once.
const OF_NETWORK: [&str; 14] = [
    "nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "cifs", "smb3", "afs", "orangefs", "pvfs2", "gfs2", "ocfs2",
    "9p",
];
/// Such file systems behind FUSE: `fuse.glusterfs`, `fuse.sshfs`, ...
const BEHIND_FUSE: [&str; 6] = ["glusterfs", "sshfs", "juicefs", "ceph", "s3fs", "cvmfs"];

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct System {
    /// As mount(8) names it: `ext4`, `nfs4`, `fuse.sshfs`.
    pub(crate) kind: String,
    /// Options of the mount and of the file system.
    pub(crate) options: Vec<String>,
}

impl System {
    pub(crate) fn is_of_network(&self) -> bool {
        let behind_fuse = self.kind.strip_prefix("fuse.").is_some_and(|kind| BEHIND_FUSE.contains(&kind));
        behind_fuse || OF_NETWORK.contains(&self.kind.as_str())
    }

    /// The option that keeps locks of byte ranges on this node, if there is one.
    pub(crate) fn keeps_locks_local(&self) -> Option<&str> {
        let local: &[&str] = match self.kind.as_str() {
            "nfs" | "nfs4" => &["nolock", "local_lock=all", "local_lock=posix"],
            "lustre" => &["localflock"],
            "cifs" | "smb3" => &["nobrl"],
            _ => &[],
        };
        self.options.iter().map(String::as_str).find(|option| local.contains(option))
    }
}

/// The file system of a path that exists.
pub(crate) fn of(path: &Path) -> Option<System> {
    let path = path.canonicalize().ok()?;
    let dev = fs::metadata(&path).ok()?.dev();
    find(&mounts::read(), (major(dev), minor(dev)), &path)
}

/// The mount that the path lies below: the innermost of its device, or, where a file system shows other devices than its
/// own (btrfs), the innermost of all.
fn find(mounts: &[Mount], device: (u64, u64), path: &Path) -> Option<System> {
    let of_path = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    let of_device = of_path.clone().filter(|mount| mount.device == device);
    // The last of several on one point is the one that shows.
    let innermost = |mount: &&Mount| mount.point.as_os_str().len();
    let mount = of_device.max_by_key(innermost).or_else(|| of_path.max_by_key(innermost))?;
    Some(System { kind: mount.kind.clone(), options: mount.options.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "22 1 8:1 / / rw,noatime shared:1 - ext4 /dev/sda1 rw\n\
        30 22 0:25 / /home rw,relatime - nfs4 fs:/home rw,vers=4.2,local_lock=none\n\
        31 22 0:26 / /scratch rw master:3 - lustre 10.0.0.1@tcp:/scratch rw,localflock\n\
        32 22 0:30 / /data rw - btrfs /dev/sdb rw,subvol=/\n\
        33 30 0:40 / /home/alice/mnt rw - fuse.sshfs host: rw\n\
        34 30 0:41 / /home/alice/my\\040data rw - nfs fs:/my\\040data rw,nolock\n";

    #[test]
    fn innermost_mounts() {
        let mounts = mounts::parse(MOUNTS.as_bytes());
        let kind = |device, path: &str| find(&mounts, device, Path::new(path)).map(|system| system.kind);
        assert_eq!(kind((8, 1), "/homework"), Some("ext4".into()));
        assert_eq!(kind((0, 25), "/home/alice"), Some("nfs4".into()));
        assert_eq!(kind((0, 40), "/home/alice/mnt/x"), Some("fuse.sshfs".into()));
        assert_eq!(kind((0, 31), "/data/x"), Some("btrfs".into()), "its device is another");
        assert_eq!(kind((8, 1), "/"), Some("ext4".into()));
        assert_eq!(kind((0, 41), "/home/alice/my data/x"), Some("nfs".into()), "a blank is written as \\040");
        assert_eq!(find(&[], (8, 1), Path::new("/")), None);
    }

    #[test]
    fn what_is_known_of_locks() {
        let mounts = mounts::parse(MOUNTS.as_bytes());
        let of = |device, path: &str| find(&mounts, device, Path::new(path)).unwrap();
        assert_eq!(of((0, 26), "/scratch").keeps_locks_local(), Some("localflock"));
        assert_eq!(of((0, 25), "/home").keeps_locks_local(), None);
        assert!(of((0, 25), "/home").is_of_network() && of((0, 40), "/home/alice/mnt").is_of_network());
        assert!(!of((8, 1), "/").is_of_network());
    }

    #[test]
    fn of_this_machine() {
        assert_eq!(of(Path::new("/proc/self")).map(|system| system.kind), Some("proc".into()));
        assert_eq!(of(Path::new("/no/such/place")), None);
    }
}
