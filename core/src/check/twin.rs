//! A copy of an image, beside it, for repairs that must not be cut off halfway: it takes the image's name when all is done.
//!
//! e2fsck -p can be killed and run again. debugfs, tune2fs and e2fsck -y cannot be trusted with that: cut off, they may leave
//! what nothing repairs without loss. So the image stays as it is until the copy is complete, sound and on disk.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::CheckError;
use crate::draft::{Draft, Kind, Place, attributes};
use crate::held::Held;
use crate::sparse;

/// Names under which damaged originals are kept: `env.img.damaged`, then `env.img.damaged-2` and so on.
const MOST_KEPT: u32 = 100;

/// A copy under change.
pub(crate) struct Twin {
    /// The copy; in messages it goes by the name of the image.
    pub(crate) held: Held,
    draft: Draft,
    place: Place,
}

impl Twin {
    /// Copies the image that `original` holds. `progress` is told percent.
    pub(crate) fn of(original: &Held, progress: &mut dyn FnMut(u64, u64)) -> Result<Self, CheckError> {
        let path = &original.image.path;
        let fail = |error| CheckError::copy(path, error);
        let place = Place::of(&original.image).map_err(fail)?;
        let draft = place.draft(Kind::Repaired).map_err(fail)?;
        take_owner(original, &draft)?;
        let mut tell = |done: u64, total: u64| {
            progress(done.saturating_mul(100) / total.max(1), 100);
            Ok(())
        };
        sparse::copy(&original.file, draft.file(), &mut tell).map_err(fail)?;
        let held = Held::copy_of(path, draft.reopen().map_err(fail)?)?;
        Ok(Self { held, draft, place })
    }

    /// Lets the copy take the image's place and `original` go on with it; with `keep` the file that was there stays under
    /// another name, which is handed back.
    pub(crate) fn replace(self, original: &mut Held, keep: bool) -> Result<Option<PathBuf>, CheckError> {
        let path = original.image.path.clone();
        let fail = |error| CheckError::copy(&path, error);
        let rest = attributes::take_rest(&original.file, self.draft.file());
        rest.map_err(|unequal| fail(io::Error::other(unequal.to_string())))?;
        let kept = keep.then(|| keep_as(self.place.file(), original.image.ino)).transpose().map_err(fail)?;
        let (file, guard) = self.draft.replace(self.place.file()).map_err(fail)?;
        original.go_on_with(file, guard)?;
        Ok(kept)
    }
}

/// The group may be one that the caller is not in; the mode makes up for that.
fn take_owner(original: &Held, draft: &Draft) -> Result<(), CheckError> {
    let image = &original.image;
    let meta = original.file.metadata().map_err(|error| CheckError::copy(&image.path, error))?;
    let not_owner = |_| CheckError::NotOwner { path: image.path.clone(), owner: image.uid };
    attributes::take_user(&meta, draft.file()).map_err(not_owner)?;
    attributes::take_group(&meta, draft.file()).or(Ok(()))
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
