//! A copy of an image, beside it, for repairs that must not be cut off halfway: it takes the image's name when all is done.
//!
//! e2fsck -p can be killed and run again. debugfs, tune2fs and e2fsck -y cannot be trusted with that: cut off, they may leave
//! what nothing repairs without loss. So the image stays as it is until the copy is complete, sound and on disk.

use std::path::PathBuf;

use crate::acquire::LockedImage;
use crate::replace::{Group, Replacement};
use crate::temporary::Kind;
use crate::verbs::check::error::CheckError;

/// A copy under change.
pub(crate) struct RepairCopy {
    /// The copy; in messages it goes by the name of the image.
    pub(crate) locked: LockedImage,
    replacement: Replacement,
}

impl RepairCopy {
    /// Copies the image that `original` holds. `progress` is told percent.
    pub(super) fn of(original: &LockedImage, progress: &mut dyn FnMut(u64, u64)) -> Result<Self, CheckError> {
        let fail = |error| CheckError::replace(&original.image, error);
        let replacement = Replacement::beside(original, Kind::Repaired, Group::IfPossible).map_err(fail)?;
        let mut tell = |done: u64, total: u64| {
            progress(done.saturating_mul(100) / total.max(1), 100);
            Ok(())
        };
        replacement.fill(original, 0, &mut tell).map_err(fail)?;
        let path = &original.image.path;
        let locked =
            LockedImage::copy_of(path, replacement.draft().reopen().map_err(|error| CheckError::copy(path, error))?)?;
        Ok(Self { locked, replacement })
    }

    /// Lets the copy take the image's place and `original` go on with it; with `keep` the file that was there stays under
    /// another name, which is handed back.
    pub(super) fn replace(self, original: &mut LockedImage, keep: bool) -> Result<Option<PathBuf>, CheckError> {
        let taken = self.replacement.take_place(original, keep);
        let taken = taken.map_err(|error| CheckError::replace(&original.image, error))?;
        original.go_on_with(taken.file, taken.guard)?;
        Ok(taken.kept)
    }
}
