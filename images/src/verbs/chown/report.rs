//! What a chown has done, as it is printed and as `--json` has it.

use std::path::PathBuf;

use condatainer_formats::ext::Ids;

/// What was done; in a dry run, what would be.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Files and directories looked at.
    pub scanned: u64,
    /// Those whose owner or group changed.
    pub changed: u64,
    /// Owner of `upper` before.
    pub before: Ids,
    /// Owner of `upper` now.
    pub after: Ids,
    /// Owners that can no longer be told apart, because all are the target's now; then the way back is not exact.
    pub merged_uids: Vec<u32>,
    /// The same for groups.
    pub merged_gids: Vec<u32>,
    /// Directories whose owner or group is still somebody else: without fakeroot the new owner cannot write there. Always
    /// 0 where the target is root, who needs fakeroot anyway.
    pub unwritable_directories: u64,
    /// The first of them, as paths from the image's root.
    #[serde(serialize_with = "crate::system::json_paths::paths")]
    pub unwritable_examples: Vec<PathBuf>,
    /// Whether the directories were walked, because the image holds more than the overlay or only paths were asked for.
    pub walked: bool,
    /// Whether e2fsck cleaned the image first.
    pub replayed: bool,
    /// Whether the image could not be locked, because the file system that holds it has no locks.
    pub unlocked: bool,
}
