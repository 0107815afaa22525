//! An image that nobody changes while it is read, and that is in order.

use std::path::Path;

use crate::acquire::{AcquireError, LockedImage, Purpose};
use condatainer_formats::ext::State;

/// An image that is locked, and sound enough to be read.
pub(super) struct CleanImage {
    pub(super) locked: LockedImage,
    /// e2fsck cleaned it first.
    pub(super) repaired: bool,
    /// It is not marked as clean, and is read as it is.
    pub(super) unclean: bool,
}

impl CleanImage {
    /// Takes the lock for reading; where the image needs it, repairs it first under the lock for writing.
    pub(super) fn open(path: &Path) -> Result<Self, AcquireError> {
        let locked = LockedImage::open(path, Purpose::Read)?;
        if locked.state()?.is_clean() {
            return Ok(Self { locked, repaired: false, unclean: false });
        }
        drop(locked);
        let repaired = repair(path);
        let locked = LockedImage::open(path, Purpose::Read)?;
        match repaired {
            _ if locked.state()?.is_clean() => Ok(Self { locked, repaired: true, unclean: false }),
            Ok(()) => locked.make_clean(false).map(|_| Self { locked, repaired: true, unclean: false }),
            Err(AcquireError::Busy { .. } | AcquireError::NotWritable { .. }) if is_readable(locked.state()?) => {
                Ok(Self { locked, repaired: false, unclean: true })
            }
            Err(error) => Err(error),
        }
    }
}

fn repair(path: &Path) -> Result<(), AcquireError> {
    LockedImage::open(path, Purpose::Change)?.announce("overlay seal").make_clean(true).map(drop)
}

/// fuse2fs takes the mark of a clean file system away even where it only reads; names and contents are sound then. A writer that
/// it was killed under leaves stale counts of free blocks, which nobody reads here.
fn is_readable(state: State) -> bool {
    !state.needs_recovery && !state.errors
}
