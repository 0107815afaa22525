//! What an image says about itself, under the lock that is had.

use crate::acquire::LockedImage;
use crate::image::ImageError;
use crate::verbs::check::error::CheckError;
use condatainer_formats::ext::{self, Probe};

/// Reads it anew.
pub(crate) fn probe(locked: &LockedImage) -> Result<Probe, CheckError> {
    let probe = ext::probe(&locked.file, locked.window);
    probe.map_err(|error| CheckError::Image(ImageError::ext(&locked.image.path, error)))
}
