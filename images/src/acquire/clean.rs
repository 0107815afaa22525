//! Whether a locked image is in order, and putting it in order.

use super::automatic_repair::automatic_repair;
use super::error::AcquireError;
use super::locked::LockedImage;
use crate::image::ImageError;
use crate::lock;
use crate::tools::e2fsck::{CORRECTED, Work};
use condatainer_formats::ext::State;
use condatainer_formats::ext::raw::{Fs, state_of};

impl LockedImage {
    /// Makes sure that nothing is left to be replayed or repaired, running e2fsck where that was asked for.
    /// True when e2fsck ran.
    ///
    /// Where the file system has no locks, an image that is not clean may be in use on another node at this moment, and e2fsck
    /// would destroy what is written there. Only its owner can know; `overlay check --fix` takes his word for it.
    pub fn make_clean(&self, replay: bool) -> Result<bool, AcquireError> {
        let Err(dirty) = self.require_clean() else { return Ok(false) };
        self.refuse_silent_users()?;
        if !replay || self.lock_unsupported().is_some() {
            return Err(dirty);
        }
        automatic_repair(self, || self.e2fsck(Work::IfNotClean)?.run(CORRECTED))
            .map_err(|error| AcquireError::Tool { path: self.image.path.clone(), error })?;
        self.require_clean().map(|()| true)
    }

    fn require_clean(&self) -> Result<(), AcquireError> {
        match trouble(self.state()?) {
            Some(what) => Err(AcquireError::Dirty { path: self.image.path.clone(), what }),
            None => Ok(()),
        }
    }

    /// What the superblock says about the health of the file system.
    pub fn state(&self) -> Result<State, AcquireError> {
        let fs = Fs::open(&self.file, self.window, u64::MAX)
            .map_err(|e| AcquireError::Image(ImageError::ext(&self.image.path, e)))?;
        Ok(state_of(&fs.sb))
    }

    /// An image that is not clean may be mounted by somebody who does not lock, for instance plain fuse2fs.
    pub(crate) fn refuse_silent_users(&self) -> Result<(), AcquireError> {
        match lock::users(self.image.dev, self.image.ino).first() {
            Some(user) => Err(self.busy_with(format!("open in {}, pid {}", user.comm, user.pid))),
            None => Ok(()),
        }
    }
}

/// What is left to be done before the image may be written, in words.
fn trouble(state: State) -> Option<&'static str> {
    match state {
        State { needs_recovery: true, .. } => Some("its journal has not been replayed"),
        State { valid: false, .. } => Some("it was not unmounted cleanly"),
        State { errors: true, .. } => Some("it has recorded errors"),
        State { orphans: true, .. } => Some("it has deleted files that were not yet freed"),
        _ => None,
    }
}
