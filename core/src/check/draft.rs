//! A copy of an image, beside it, for repairs that must not be cut off halfway: it takes the image's name when all is done.
//!
//! e2fsck -p can be killed and run again. debugfs, tune2fs and e2fsck -y cannot be trusted with that: cut off, they may leave
//! what nothing repairs without loss. So the image stays as it is until the copy is complete, sound and on disk.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use super::error::CheckError;
use crate::chown::next_data;
use crate::held::{Held, Purpose};

/// Names under which damaged originals are kept: `env.img.damaged`, then `env.img.damaged-2` and so on.
const MOST_KEPT: u32 = 100;

/// A copy under change.
pub(crate) struct Draft {
    /// The copy, locked for writing; in messages it goes by the name of the image.
    pub(crate) held: Held,
    at: TempPath,
    real: PathBuf,
}

impl Draft {
    /// Copies the image that `original` holds. What an earlier run left, because it was killed, is removed.
    pub(crate) fn of(original: &Held) -> Result<Self, CheckError> {
        let path = &original.image.path;
        let real = fs::canonicalize(path).map_err(|e| CheckError::copy(path, e))?;
        if !original.image.is_still_at(&real) {
            return Err(CheckError::copy(path, io::Error::other("the image was replaced by another file just now")));
        }
        let at = beside(&real, original.image.ino);
        remove_if_there(&at).map_err(|e| CheckError::copy(path, e))?;
        let at = TempPath::try_from_path(at).map_err(|e| CheckError::copy(path, e))?;
        copy(original, &at)?;
        let mut held = Held::open(&at, Purpose::Change)?;
        held.image.path.clone_from(path);
        Ok(Self { held, at, real })
    }

    /// Lets the copy take the image's place; with `keep` the original stays under another name, which is handed back.
    pub(crate) fn replace(self, original: &Held, keep: bool) -> Result<(Held, Option<PathBuf>), CheckError> {
        let fail = |error| CheckError::copy(&original.image.path, error);
        self.held.file.sync_all().map_err(fail)?;
        let kept = keep.then(|| keep_as(&self.real, original.image.ino)).transpose().map_err(fail)?;
        self.at.persist(&self.real).map_err(|e| fail(e.error))?;
        let directory = self.real.parent().unwrap_or(Path::new("/"));
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(fail)?;
        Ok((self.held, kept))
    }
}

/// The same name every time, so that a rerun finds what a killed run left. The lock on the image keeps two runs apart.
fn beside(real: &Path, ino: u64) -> PathBuf {
    let name = real.file_name().unwrap_or_default().to_string_lossy();
    let name = name.chars().take(64).collect::<String>();
    real.with_file_name(format!(".{name}.{ino}.check"))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn copy(original: &Held, at: &Path) -> Result<(), CheckError> {
    let image = &original.image;
    let fail = |error| CheckError::copy(&image.path, error);
    // Some file systems report fresh, unwritten data as holes.
    original.file.sync_data().ok();
    let to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(at).map_err(fail)?;
    if image.uid != to.metadata().map_err(fail)?.uid() {
        fchown(&to, Some(image.uid), None)
            .map_err(|_| CheckError::NotOwner { path: image.path.clone(), owner: image.uid })?;
    }
    // The group may be one that the caller is not in; then the mode must not mean another group.
    let group = fchown(&to, None, Some(image.gid)).is_ok();
    let mode = if group { image.mode } else { image.mode & !0o070 };
    copy_content(&original.file, &to, image.size_bytes).map_err(fail)?;
    to.set_permissions(Permissions::from_mode(mode)).map_err(fail)
}

/// Holes stay holes, and file systems that can share blocks between files do so.
fn copy_content(mut from: &File, mut to: &File, size: u64) -> io::Result<()> {
    to.set_len(size)?;
    let mut at = 0;
    while let Some(data) = next_data(from, at, size).map_err(io::Error::other)? {
        let length = data.end - data.start;
        from.seek(SeekFrom::Start(data.start))?;
        to.seek(SeekFrom::Start(data.start))?;
        if io::copy(&mut from.take(length), &mut to)? != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        at = data.end;
    }
    Ok(())
}

/// Gives the original a second name; one that a killed run has given is used again.
fn keep_as(real: &Path, ino: u64) -> io::Result<PathBuf> {
    for number in 1..=MOST_KEPT {
        let mut name: OsString = real.file_name().unwrap_or_default().into();
        name.push(if number == 1 { ".damaged".into() } else { format!(".damaged-{number}") });
        let kept = real.with_file_name(name);
        match fs::hard_link(real, &kept) {
            Ok(()) => return Ok(kept),
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Err(_) if fs::symlink_metadata(&kept)?.ino() == ino => return Ok(kept),
            Err(_) => {}
        }
    }
    Err(io::Error::other("there are too many copies named .damaged beside it"))
}
