//! Deletions that only fuse-overlayfs understands, as a finding, and their translation.

use std::path::Path;

use super::features;
use crate::acquire::LockedImage;
use crate::overlay::whiteout::{self, TranslateError};
use crate::verbs::check::error::CheckError;
use crate::verbs::check::finding::{Code, Finding, fix as fix_command};
use condatainer_formats::ext::{self, ExtError, Features};

/// A note where a kernel overlay would show what was deleted. It is no error: our own starts honour them. Opaque directories are
/// not counted: fuse-overlayfs makes every new directory opaque, and only with a base can one tell whether that hides anything.
pub(crate) fn finding(path: &Path, locked: &LockedImage) -> Result<Option<Finding>, ExtError> {
    let count = whiteout::find(&locked.file, locked.window, None)?.unwrap_or_default().kinds.fuse;
    if count == 0 {
        return Ok(None);
    }
    let (more, cure) = match whiteout::require_translatable(&locked.file, locked.window) {
        Ok(()) => (String::new(), Some(fix_command(path))),
        // What a repair takes away first does not stand in its way.
        Err(_) if features::is_convertible(features_of(locked)?) => (String::new(), Some(fix_command(path))),
        Err(why) => (format!("; they stay as they are, for the image {why}"), None),
    };
    Ok(Some(Finding::note(Code::FuseWhiteouts, count, message(count) + &more, cure)))
}

fn features_of(locked: &LockedImage) -> Result<Features, ExtError> {
    Ok(ext::probe(&locked.file, locked.window)?.features)
}

fn message(count: u64) -> String {
    format!(
        "{count} names .wh.* of fuse-overlayfs: a kernel overlay would list them and show again what they delete; our own starts honour them"
    )
}

/// Translates them in place; called with a clean image that is ours alone. What is not understood stays as it is, and is found
/// again by the next look.
pub(crate) fn fix(locked: &LockedImage) -> Result<(), CheckError> {
    match whiteout::translate(&locked.file, locked.window) {
        Ok(_) | Err(TranslateError::Ext(_)) => Ok(()),
        Err(error @ TranslateError::Write(_)) => Err(CheckError::Whiteouts { path: locked.image.path.clone(), error }),
    }
}
