//! Which whiteouts an image has, remembered with it, so that a start need not search.
//!
//! It is an extended attribute of the image file: no byte of the image changes, and a file system without such attributes only
//! costs the search. It counts as long as the superblock is the one that it was made for; every mount changes that, so a writer
//! that does not know of it cannot leave a wrong one.

use std::fs::File;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use xattr::FileExt;

use super::paths::{pack, unpack};
use super::scan::{Found, Kinds, scan};
use crate::image::attributes::WHITEOUTS;
use condatainer_formats::ext::{self, ExtError, Stamp, Tree, Window};

const VERSION: u32 = 3;

/// The first line of the attribute, in JSON. Behind it stand the paths of the opaque directories, packed.
#[derive(Serialize, Deserialize)]
struct Remembered {
    v: u32,
    kinds: Kinds,
    /// Whether all opaque directories follow; there may be too many.
    all: bool,
    stamp: Stamp,
}

/// What was found when the file system was as `stamp` says; `None` when nothing was remembered since.
#[must_use]
pub fn remembered(file: &File, stamp: &Stamp) -> Option<Found> {
    let text = file.get_xattr(WHITEOUTS).ok()??;
    let end = text.iter().position(|&byte| byte == b'\n')?;
    let line: Remembered = serde_json::from_slice(text.get(..end)?).ok()?;
    let opaque = if line.all { Some(unpack(text.get(end + 1..)?)?) } else { None };
    (line.v == VERSION && line.stamp == *stamp).then_some(Found { kinds: line.kinds, opaque })
}

/// Remembers what was found. Nothing depends on it: a caller who may not write the file, or a file system without extended
/// attributes, has to search again.
pub fn remember(file: &File, stamp: &Stamp, found: &Found) {
    let packed = found.opaque.clone().and_then(|mut paths| pack(&mut paths));
    let line = Remembered { v: VERSION, kinds: found.kinds, all: packed.is_some(), stamp: *stamp };
    if let Ok(line) = serde_json::to_vec(&line) {
        let _ = file.set_xattr(WHITEOUTS, &[line.as_slice(), b"\n", &packed.unwrap_or_default()].concat());
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

/// Forgets what was found: whoever changes whiteouts without a mount does this first.
pub(super) fn forget(file: &File) {
    let _ = file.remove_xattr(WHITEOUTS);
}
