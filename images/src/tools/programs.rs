//! Where external programs are. Ordinary users often lack the directories of system tools in PATH, so those are searched as well.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

const SYSTEM_DIRECTORIES: [&str; 5] = ["/usr/local/sbin", "/usr/bin", "/usr/sbin", "/sbin", "/bin"];

/// The program of this name that the caller may run.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    find_in(name, &std::env::var_os("PATH").unwrap_or_default())
}

/// As [`find`], passing over links to the program `except`.
pub fn find_except(name: &[u8], except: Option<&Path>) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    candidates(OsStr::from_bytes(name), &path).find(|file| file.canonicalize().ok().as_deref() != except)
}

fn find_in(name: &str, path: &OsStr) -> Option<PathBuf> {
    candidates(OsStr::new(name), path).next()
}

fn candidates(name: &OsStr, path: &OsStr) -> impl Iterator<Item = PathBuf> {
    let named: Vec<PathBuf> = std::env::split_paths(path).filter(|dir| dir.is_absolute()).collect();
    let dirs = named.into_iter().chain(SYSTEM_DIRECTORIES.map(PathBuf::from));
    let name = name.to_owned();
    dirs.map(move |dir| dir.join(&name)).filter(|file| file.is_file() && access(file, AccessFlags::X_OK).is_ok())
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
