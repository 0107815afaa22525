//! How our server has left the image that it wrote, for a step's srun, which sees only the image: whether it was killed, which a journal that was
//! replayed at once does not tell; and that it was not, since who is told of a full image when he writes has lost nothing. It stands
//! in an extended attribute of the file, and counts for as long as nobody has written to the image since.

use std::fs::File;
use std::time::{SystemTime, UNIX_EPOCH};

use condatainer_formats::ext::{self, Stamp, Window};
use serde::{Deserialize, Serialize};
use xattr::FileExt;

const WRITTEN: &str = "user.condatainer.written";

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum End {
    /// All that was written is there.
    Whole,
    /// Something that was written last may be missing.
    Killed,
}

/// What is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    stamp: Stamp,
    pub(crate) end: End,
    /// Tells it from the note of another server that has changed nothing either: nanoseconds since 1970.
    at: u128,
}

/// Writes it down for the image in `window` of `file`, as it is now. Where the file system has no such attributes, nobody is told.
pub(crate) fn note(file: &File, window: Window, end: End) {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    if let Ok(stamp) = ext::stamp(file, window)
        && let Ok(text) = serde_json::to_vec(&Note { stamp, end, at })
    {
        let _ = file.set_xattr(WRITTEN, &text);
    }
}

/// How the server ended that wrote the image last, if one did; `stamp` is the image's.
pub(crate) fn noted(file: &File, stamp: &Stamp) -> Option<Note> {
    let note = serde_json::from_slice::<Note>(&file.get_xattr(WRITTEN).ok()??).ok()?;
    (note.stamp == *stamp).then_some(note)
}
