//! What a check found, and what was done about it.

use std::path::{Path, PathBuf};

use super::finding::Finding;

/// What was found, and what was done about it. The field names are the contract of `--json`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// As given.
    #[serde(serialize_with = "crate::system::json_paths::path")]
    pub path: PathBuf,
    /// `ext3`, `squashfs`, `sif`, `directory`.
    pub kind: &'static str,
    /// Nothing is wrong, or nothing is any more.
    pub ok: bool,
    /// By kind; those that were repaired too.
    pub findings: Vec<Finding>,
    /// Whether somebody was reading it meanwhile.
    pub readers: bool,
    /// Whether the image could not be locked, because the file system that holds it has no locks.
    pub unlocked: bool,
    /// Files that belong to other users than `upper` does; `None` where they were not counted.
    pub other_owners: Option<u64>,
    /// Names in `lost+found`, where e2fsck puts what has lost its own.
    pub lost_and_found: Vec<String>,
    /// Where the image is kept as it was before a repair that could lose data.
    #[serde(serialize_with = "crate::system::json_paths::maybe")]
    pub kept: Option<PathBuf>,
    /// What e2fsck said, the first thousand lines.
    pub e2fsck: Vec<String>,
}

impl Report {
    /// Of an image in which nothing but findings was looked for.
    pub(super) fn plain(path: &Path, kind: &'static str, findings: Vec<Finding>) -> Self {
        let ok = !findings.iter().any(Finding::is_left);
        let (lost_and_found, e2fsck) = (Vec::new(), Vec::new());
        let (readers, unlocked, other_owners, kept) = (false, false, None, None);
        Self { path: path.into(), kind, ok, findings, readers, unlocked, other_owners, lost_and_found, kept, e2fsck }
    }
}
