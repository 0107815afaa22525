//! The mark: which whiteouts an image has, remembered beside it, so that a start need not search.
//!
//! It is an extended attribute of the image file: no byte of the image changes, and a file system without such attributes only
//! costs the search. It counts as long as the superblock is the one that it was made for; every mount changes that, so a writer
//! that does not know the mark cannot leave a wrong one.

use std::fs::File;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use xattr::FileExt;

use super::{Found, scan};
use crate::ext::{self, ExtError, Stamp, Tree, Window};

/// The name of the attribute.
pub(crate) const MARK: &str = "user.condatainer.whiteouts";

#[derive(Serialize, Deserialize)]
struct Mark {
    v: u32,
    found: Found,
    stamp: Stamp,
}

/// What was found when the file system was as `stamp` says; `None` when nothing was remembered since.
#[must_use]
pub fn remembered(file: &File, stamp: &Stamp) -> Option<Found> {
    let text = file.get_xattr(MARK).ok()??;
    let mark: Mark = serde_json::from_slice(&text).ok()?;
    (mark.v == 1 && mark.stamp == *stamp).then_some(mark.found)
}

/// Remembers what was found. Nothing depends on it: a caller who may not write the file, or a file system without extended
/// attributes, has to search again.
pub fn remember(file: &File, stamp: &Stamp, found: &Found) {
    if let Ok(text) = serde_json::to_vec(&Mark { v: 1, found: found.clone(), stamp: *stamp }) {
        let _ = file.set_xattr(MARK, &text);
    }
}

/// The whiteouts of the file system in `window`: remembered, or searched for as long as `limit` allows and then remembered. `None`
/// when that was not long enough.
///
/// # Errors
/// A tree that cannot be read, or has no `upper`.
pub fn find(file: &File, window: Window, limit: Option<Duration>) -> Result<Option<Found>, ExtError> {
    let stamp = ext::stamp(file, window)?;
    if let Some(found) = remembered(file, &stamp) {
        return Ok(Some(found));
    }
    let found = scan(&Tree::open(file, window)?, limit.map(|limit| Instant::now() + limit))?;
    // Somebody may have written while we looked; then this says nothing about what is there now.
    match &found {
        Some(found) if ext::stamp(file, window)? == stamp => remember(file, &stamp, found),
        _ => {}
    }
    Ok(found)
}

/// Takes the mark away: whoever changes whiteouts without a mount does this first.
pub(super) fn forget(file: &File) {
    let _ = file.remove_xattr(MARK);
}
