//! What is mounted in the mount namespace: our server's FUSE mount, and for `:tmp` the kernel's OverlayFS on it.
//!
//! Both lie on one directory of the host, which must exist and which the container does not show. The server's directories have
//! fixed names in the FUSE mount's root: [`LOWER`], and where something is written [`UPPER`] and [`WORK`]. The overlay covers the mount
//! that it reads: its layers are found by a descriptor.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc::{O_DIRECTORY, O_PATH};
use nix::mount::{MsFlags, mount};

use super::user::Users;
use super::{Cannot, cannot};

/// The merged tree of all that is only read.
pub const LOWER: &str = "lower";
/// What is written.
pub const UPPER: &str = "upper";
/// What the kernel's OverlayFS needs beside it.
pub const WORK: &str = "work";

/// What stands for us in a table of mounts; the type's second half is what df(1) shows.
const SOURCE: &str = "condatainer";
const TYPE: &str = "fuse.condatainer";
/// The kernel's directory for control files of FUSE: it is empty, nobody needs it, and it exists where FUSE does.
pub const FALLBACK: &str = "/sys/fs/fuse/connections";

/// Where to mount: the directory that the installation has made for that, else one of the kernel's.
#[must_use]
pub fn place(installed: Option<PathBuf>) -> PathBuf {
    installed.filter(|dir| dir.is_dir()).unwrap_or_else(|| FALLBACK.into())
}

/// Where the container's root is, with the mounts of [`fuse`] and perhaps [`overlay`].
#[must_use]
pub fn merged(place: &Path, is_written: bool) -> PathBuf {
    if is_written { place.into() } else { place.join(LOWER) }
}

/// Whatever is mounted from now on stays in this namespace. One of a new user namespace is so by itself.
pub(crate) fn keep_to_ourselves() -> Result<(), Cannot> {
    let flags = MsFlags::MS_REC | MsFlags::MS_SLAVE;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
        .map_err(cannot("the mounts of the namespace cannot be separated from the host's"))
}

/// Mounts a FUSE file system, and returns the descriptor by which it is served. The kernel asks nothing before somebody looks at it. Where
/// nothing is written the kernel refuses every change; without that it would take the time of the last access for changed by each read, and ask
/// again for what it knows.
pub(crate) fn fuse(place: &Path, users: &Users, is_written: bool) -> Result<OwnedFd, Cannot> {
    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse");
    let device = device.map_err(|error| {
        Cannot(format!("/dev/fuse cannot be opened: {error}: load the kernel's module fuse, and let everybody open it"))
    })?;
    let (uid, gid) = users.inside();
    let options = format!(
        "fd={},rootmode=40000,user_id={uid},group_id={gid},default_permissions,allow_other",
        device.as_raw_fd()
    );
    let mut flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    flags.set(MsFlags::MS_RDONLY, !is_written);
    mount(Some(SOURCE), place, Some(TYPE), flags, Some(options.as_str()))
        .map_err(cannot(&format!("{}: FUSE cannot be mounted", place.display())))?;
    Ok(device.into())
}

/// Lays the kernel's OverlayFS over the server's mount, where that is served by now.
pub(crate) fn overlay(place: &Path) -> Result<(), Cannot> {
    let served = open_directory(place)?;
    lay(place, &format!("/proc/self/fd/{}", served.as_raw_fd()))
}

/// The server's tree, which is below one name of its mount, is where the mount is.
pub(crate) fn uncover(place: &Path) -> Result<(), Cannot> {
    mount(Some(&place.join(LOWER)), place, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(cannot(&format!("{}: cannot be mounted", place.display())))
}

/// As [`overlay`], on the directories below `of`.
pub(super) fn lay(place: &Path, of: &str) -> Result<(), Cannot> {
    let options = format!("userxattr,lowerdir={of}/{LOWER},upperdir={of}/{UPPER},workdir={of}/{WORK}");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some(SOURCE), place, Some("overlay"), flags, Some(options.as_str())).map_err(|errno| {
        let cure = cure(errno).map(|cure| format!(": {cure}")).unwrap_or_default();
        Cannot(format!("{}: the kernel's OverlayFS cannot be mounted: {}{cure}", place.display(), errno.desc()))
    })
}

/// What the kernel means by it, where that is one thing. Of the rest the server of what is written to says more.
fn cure(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::ENOSPC | Errno::EDQUOT => {
            Some("what is written to, or its disk, is full: it needs room for three files more")
        }
        Errno::ENODEV => Some("the kernel's module overlay is missing: as root: modprobe overlay"),
        Errno::EPERM | Errno::EINVAL => Some("a user's needs Linux 5.11"),
        _ => None,
    }
}

fn open_directory(path: &Path) -> Result<File, Cannot> {
    OpenOptions::new()
        .read(true)
        .custom_flags(O_PATH | O_DIRECTORY)
        .open(path)
        .map_err(|error| Cannot::because(&path.display().to_string(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_an_old_kernel_answers_is_called_that() {
        assert!(cure(Errno::EINVAL).is_some_and(|cure| cure.contains("5.11")));
        for other in [Errno::ENOSPC, Errno::EDQUOT, Errno::EIO, Errno::EROFS, Errno::ENOMEM, Errno::ENODEV] {
            assert!(cure(other).is_none_or(|cure| !cure.contains("5.11")), "{other}");
        }
    }
}
