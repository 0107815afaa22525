//! How long the kernel keeps what it is told.

use std::time::Duration;

use fuser::FopenFlags;

use super::super::requests::Requests;
use super::super::tree::{Answer, Entry};

/// A day; longer than most jobs, and asked for again after it.
pub(super) const KEPT: Duration = Duration::from_secs(86_400);
/// Of what others may change; network file systems do the same.
const FLEETING: Duration = Duration::from_secs(1);

/// What a file says.
pub(super) fn kept(requests: &Requests, answer: &Answer<Entry>) -> Duration {
    answer.as_ref().map_or(KEPT, |entry| kept_of(requests, entry.node))
}

/// What a node says. Of a file that the kernel has under several numbers it keeps nothing.
pub(super) fn kept_of(requests: &Requests, node: u64) -> Duration {
    match requests.shared(node) {
        Some(_) => Duration::ZERO,
        None if requests.may_change(node) => FLEETING,
        None => KEPT,
    }
}

/// The names in a directory. The kernel's overlay, which is above where something is written, looks once whatever we say, and takes a name that
/// leads elsewhere since for an error.
pub(super) fn kept_names(requests: &Requests, directory: u64) -> Duration {
    if requests.may_change(directory) && !requests.are_below_an_overlay() { FLEETING } else { KEPT }
}

/// The listing of a directory: not of one that several layers may share with a directory of the host, of which the kernel sees one time only.
pub(super) fn kept_listing(requests: &Requests, directory: u64) -> FopenFlags {
    let kept = FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR;
    if requests.may_change(directory) { FopenFlags::empty() } else { kept }
}
