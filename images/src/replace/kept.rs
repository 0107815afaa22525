//! The original of a repair that may have lost something, kept beside the image under a second name: `env.img.damaged`, then
//! `env.img.damaged-2` and so on.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::trust::open_dir::directory_of;

const MOST: u32 = 100;

/// Gives the image a second name; one that a killed run has given is used again. It is on disk before the first name is another
/// file's.
pub(super) fn keep(real: &Path, ino: u64) -> io::Result<PathBuf> {
    for kept in names(real) {
        match fs::hard_link(real, &kept) {
            Ok(()) => {
                File::open(directory_of(real))?.sync_all()?;
                return Ok(kept);
            }
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Err(_) if is(&kept, ino) => return Ok(kept),
            Err(_) => {}
        }
    }
    Err(io::Error::other("there are too many copies named .damaged beside it"))
}

/// How many of these names lead to the image itself.
pub(super) fn count(real: &Path, ino: u64) -> u64 {
    names(real).filter(|kept| is(kept, ino)).count() as u64
}

fn names(real: &Path) -> impl Iterator<Item = PathBuf> {
    let name: OsString = real.file_name().unwrap_or_default().into();
    (1..=MOST).map(move |number| {
        let mut name = name.clone();
        name.push(if number == 1 { ".damaged".into() } else { format!(".damaged-{number}") });
        real.with_file_name(name)
    })
}

fn is(path: &Path, ino: u64) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.ino() == ino)
}
