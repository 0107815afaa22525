//! The mark: which whiteouts an image has, remembered beside it, so that a start need not search.
//!
//! It is an extended attribute of the image file: no byte of the image changes, and a file system without such attributes only
//! costs the search. It counts as long as the superblock is the one that it was made for; every mount changes that, so a writer
//! that does not know the mark cannot leave a wrong one.

use std::fs::File;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use xattr::FileExt;

use super::paths::{pack, unpack};
use super::scan::{Found, Kinds, scan};
use condatainer_formats::ext::{self, ExtError, Stamp, Tree, Window};

/// The name of the attribute.
pub(crate) const MARK: &str = "user.condatainer.whiteouts";

const VERSION: u32 = 3;

/// The first line of the attribute, in JSON. Behind it stand the paths of the opaque directories, packed.
#[derive(Serialize, Deserialize)]
struct Mark {
    v: u32,
    kinds: Kinds,
    /// Whether all opaque directories follow; there may be too many.
    all: bool,
    stamp: Stamp,
}

/// What was found when the file system was as `stamp` says; `None` when nothing was remembered since.
#[must_use]
pub fn remembered(file: &File, stamp: &Stamp) -> Option<Found> {
    let text = file.get_xattr(MARK).ok()??;
    let end = text.iter().position(|&byte| byte == b'\n')?;
    let mark: Mark = serde_json::from_slice(text.get(..end)?).ok()?;
    let opaque = if mark.all { Some(unpack(text.get(end + 1..)?)?) } else { None };
    (mark.v == VERSION && mark.stamp == *stamp).then_some(Found { kinds: mark.kinds, opaque })
}

/// Remembers what was found. Nothing depends on it: a caller who may not write the file, or a file system without extended
/// attributes, has to search again.
pub fn remember(file: &File, stamp: &Stamp, found: &Found) {
    let packed = found.opaque.clone().and_then(|mut paths| pack(&mut paths));
    let mark = Mark { v: VERSION, kinds: found.kinds, all: packed.is_some(), stamp: *stamp };
    if let Ok(line) = serde_json::to_vec(&mark) {
        let _ = file.set_xattr(MARK, &[line.as_slice(), b"\n", &packed.unwrap_or_default()].concat());
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
