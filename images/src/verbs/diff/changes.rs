//! All differences of an image.

use super::entry::Entry;
use super::summary::{Count, Totals};

/// Everything that an image changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// What is added, changed or deleted, sorted by path.
    pub entries: Vec<Entry>,
    /// In all.
    pub totals: Totals,
    /// Files that the image has copies of, without any difference.
    pub copies: Count,
    /// Directories that a kernel overlay has renamed: what they took along from below counts as deleted, not as moved.
    pub renamed_directories: u64,
}
