//! What is to be changed, in which image: the options of `overlay chown`.

use std::path::PathBuf;

use condatainer_formats::ext::Ids;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The new owner and group.
    pub target: Ids,
    /// The user the image belongs to: the caller, or the target where that is a user. Its ids move, like 0 and the owner
    /// of `upper`.
    pub user: Ids,
    /// Moves exactly these ids instead.
    pub from: Option<Ids>,
    /// Moves every id.
    pub all: bool,
    /// Moves every group.
    pub groups: bool,
    /// Only what lies at and below these paths, as a container sees them; empty: everything.
    pub paths: Vec<PathBuf>,
    /// Looks, and changes nothing.
    pub dry_run: bool,
    /// Runs `e2fsck -p` under the lock where the image is not clean, instead of refusing.
    pub replay: bool,
}

impl Request {
    /// Everything to `target`, in an image of `user`.
    #[must_use]
    pub fn new(target: Ids, user: Ids) -> Self {
        let (from, paths) = (None, Vec::new());
        Self { target, user, from, all: false, groups: false, paths, dry_run: false, replay: false }
    }
}
