//! What a killed writer has left is put in order.

use std::sync::Arc;

use condatainer_formats::ext::Window;
use condatainer_formats::ext::raw::{Fs, state_of};

use super::base::Volume;
use super::open::require_written;
use crate::device::Device;
use crate::error::Result;
use crate::journal::{Replayed, replay};

/// Replays the journal, as [`replay`] does, and carries out what is left of deletions where the image is one that is written here. Nothing is
/// written to a file system that is in order.
///
/// # Errors
/// As of [`replay`].
pub fn recover(device: Arc<dyn Device>) -> Result<Replayed> {
    let replayed = replay(&*device)?;
    let sb = Fs::open(&&*device, Window::whole(device.size()), u64::MAX)?.sb;
    if state_of(&sb).orphans && require_written(&*device).is_ok() {
        Volume::open(device)?.end()?;
    }
    Ok(replayed)
}
