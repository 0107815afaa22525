//! What is known about subordinate ids.

use std::path::PathBuf;

/// What is known about subordinate ids.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Ids in the caller's widest range in `/etc/subuid`, and in `/etc/subgid`.
    pub(super) ranges: (u64, u64),
    /// Whether anybody has a range.
    pub(super) anybody: bool,
    /// newuidmap and newgidmap.
    pub(super) tools: [Tool; 2],
}

/// A program that must have privileges of its own.
#[derive(Clone, Debug)]
pub(crate) struct Tool {
    pub(super) name: &'static str,
    pub(super) path: Option<PathBuf>,
    /// Belongs to root and has its setuid bit.
    pub(super) setuid: bool,
    /// Has file capabilities.
    pub(super) capabilities: bool,
    /// Lies on a file system where neither counts.
    pub(super) nosuid: bool,
}
