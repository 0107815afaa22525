//! From the whiteouts of fuse-overlayfs to those of the kernel, in place: a file `.wh.NAME` becomes a device 0/0 called `NAME`.
//!
//! Afterwards everybody honours them, also an Apptainer that takes the kernel's overlay for a read-only stack.
//!
//! Only its own files are taken, which it makes with mode 0700: others of such names belong to an OCI layer that somebody has unpacked.
//!
//! fuse-overlayfs makes every new directory opaque, by an attribute and by a file `.wh..wh..opq` that only says the same again; where
//! the attribute is there the file is taken away, for the kernel would show it to whoever lists the directory. What an opaque
//! directory hides is known only together with the base, so that stays as it is.

mod error;
mod find;
mod moved;
#[cfg(test)]
mod tests;
mod write;

use std::fs::File;

use super::remembered;
use condatainer_formats::ext::raw::Fs;
use condatainer_formats::ext::{ExtError, Tree, Window};
pub use error::TranslateError;
use find::Findings;
use moved::SECTOR;
use write::{Disk, Writer};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Translated {
    /// Files `.wh.NAME` that are devices `NAME` now.
    pub translated: u64,
    /// Marks of opaque directories that were taken away.
    pub removed: u64,
    /// Those that were left, because `NAME` itself is there too or because they are no plain empty files.
    pub left: u64,
}

/// Translates all whiteouts below `upper` of the file system in `window`. The caller holds the image for writing, and it is clean.
///
/// # Errors
/// Before the first write: what cannot be read, or has checksums in its directories. After it: a failing write.
pub fn translate(file: &File, window: Window) -> Result<Translated, TranslateError> {
    once(file, file, window)
}

/// Whether [`translate`] knows how to rewrite names there.
///
/// # Errors
/// [`ExtError::Unsupported`] says why not; others, that it cannot be read.
pub(crate) fn require_translatable(file: &File, window: Window) -> Result<(), ExtError> {
    supported(&Fs::open(file, window, u64::MAX)?)
}

fn supported(fs: &Fs<'_>) -> Result<(), ExtError> {
    fs.sb.features.check_writable()?;
    if fs.sb.has_group_checksums() {
        return Err(ExtError::unsupported("checksums of its metadata, for rewriting names"));
    }
    if !fs.window().offset.is_multiple_of(SECTOR) {
        return Err(ExtError::unsupported("a beginning within a sector, for rewriting names"));
    }
    Ok(())
}

/// What is read in `file` is written to `disk`, which is the same but in tests.
fn once(file: &File, disk: &dyn Disk, window: Window) -> Result<Translated, TranslateError> {
    let fs = Fs::open(file, window, u64::MAX)?;
    supported(&fs)?;
    let tree = Tree::of(fs);
    let mut found = Findings::of(&tree)?;
    found.plan_moves(&tree)?;
    let (translated, removed) = (found.devices.len() as u64, found.removed.len() as u64);
    if translated + removed > 0 {
        remembered::forget(file);
        Writer { fs: &Fs::open(file, window, u64::MAX)?, disk, found: &found }.run()?;
    }
    Ok(Translated { translated, removed, left: found.left })
}
