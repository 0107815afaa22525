//! Where a directory has what it shows as a layer.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstatat};

const UPPER: &str = "upper";
const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// The directory `upper` in it, as an overlay's directory has it beside `work`; `None` where it shows itself.
///
/// # Errors
/// It cannot be opened, or is a symbolic link (`ELOOP`): an engine follows that, and we never do.
pub fn upper_of(directory: &impl AsFd) -> io::Result<Option<File>> {
    match openat(directory.as_fd(), UPPER, DIRECTORY, Mode::empty()) {
        Ok(upper) => Ok(Some(upper.into())),
        Err(Errno::ENOENT) => Ok(None),
        // The kernel says ENOTDIR of a link, too.
        Err(Errno::ENOTDIR | Errno::ELOOP) => {
            let says = fstatat(directory.as_fd(), UPPER, AtFlags::AT_SYMLINK_NOFOLLOW)?;
            let is_link = says.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFLNK.bits();
            if is_link { Err(Errno::ELOOP.into()) } else { Ok(None) }
        }
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_link_is_not_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let (upper, open) = (dir.path().join("upper"), File::open(dir.path()).unwrap());
        assert!(upper_of(&open).unwrap().is_none());
        std::fs::write(&upper, "").unwrap();
        assert!(upper_of(&open).unwrap().is_none());
        std::fs::remove_file(&upper).unwrap();
        symlink("/etc", &upper).unwrap();
        assert_eq!(upper_of(&open).unwrap_err().raw_os_error(), Some(Errno::ELOOP as i32));
        std::fs::remove_file(&upper).unwrap();
        std::fs::create_dir(&upper).unwrap();
        assert!(upper_of(&open).unwrap().is_some());
    }
}
