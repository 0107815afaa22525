//! The state of the ext file system in an image, in one word.

use condatainer_formats::ext;
use serde::Serialize;

/// State of an ext file system, from its superblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Cleanly unmounted.
    Clean,
    /// In use now, or left behind by a writer that was killed.
    Dirty,
    /// The journal holds changes that are not in place yet.
    NeedsRecovery,
    /// The kernel or e2fsck found damage.
    Errors,
}

/// The state that a superblock declares.
#[must_use]
pub fn state(state: ext::State) -> State {
    match state {
        ext::State { errors: true, .. } => State::Errors,
        ext::State { needs_recovery: true, .. } => State::NeedsRecovery,
        state if state.is_clean() => State::Clean,
        _ => State::Dirty,
    }
}
