//! Where external programs are. Ordinary users often lack the directories of system tools in PATH, so those are searched as well.

use std::ffi::OsStr;
use std::path::PathBuf;

use nix::unistd::{AccessFlags, access};

const SYSTEM_DIRECTORIES: [&str; 5] = ["/usr/local/sbin", "/usr/bin", "/usr/sbin", "/sbin", "/bin"];

/// The program of this name that the caller may run.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    find_in(name, &std::env::var_os("PATH").unwrap_or_default())
}

fn find_in(name: &str, path: &OsStr) -> Option<PathBuf> {
    let named = std::env::split_paths(path).filter(|dir| dir.is_absolute());
    let dirs = named.chain(SYSTEM_DIRECTORIES.map(PathBuf::from));
    dirs.map(|dir| dir.join(name)).find(|file| file.is_file() && access(file, AccessFlags::X_OK).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_directories_are_searched_too() {
        assert!(find_in("mke2fs", "/nowhere".as_ref()).is_some());
        assert!(find_in("no-such-tool", "/usr/bin".as_ref()).is_none());
    }
}
