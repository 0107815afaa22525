//! What a check finds: under a stable code, in words, with the command that cures it.

use std::path::Path;

use serde::Serialize;

use crate::system::escape;

/// What is wrong, for programs. The kebab-case names are the contract of `--json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The journal holds changes that are not in place yet.
    NeedsRecovery,
    /// It was not unmounted, and nobody uses it: its writer was killed.
    NotClean,
    /// The kernel or e2fsck has recorded errors.
    ErrorsRecorded,
    /// The list of deleted files that wait to be freed is not empty.
    Orphans,
    /// Bitmaps of blocks or inodes that do not agree with the files.
    StaleBitmaps,
    /// Wrong counts of free blocks, free inodes or directories.
    WrongCounts,
    /// Files whose number of names is wrong.
    WrongLinkCounts,
    /// Files whose size or number of blocks is wrong.
    WrongSizes,
    /// Deleted files that were not freed.
    OrphanedInodes,
    /// Names without a file.
    DanglingNames,
    /// Files without a name.
    UnattachedFiles,
    /// Blocks that two files claim.
    SharedBlocks,
    /// Directories that contradict themselves.
    DamagedDirectories,
    /// Inodes that contradict themselves.
    DamagedInodes,
    /// A journal that contradicts itself.
    DamagedJournal,
    /// The superblock or the group descriptors.
    DamagedSuperblock,
    /// Checksums that do not match.
    WrongChecksums,
    /// Anything else that e2fsck complains about.
    OtherDamage,
    /// There is no `upper`.
    UpperMissing,
    /// `upper` is not a directory.
    UpperNotDirectory,
    /// `upper` cannot be looked up.
    UpperUnreadable,
    /// The owner of `upper` is nobody whom the caller can be in a container.
    UpperOwner,
    /// There is no `work`.
    WorkMissing,
    /// `work` is not a directory.
    WorkNotDirectory,
    /// `work` cannot be looked up.
    WorkUnreadable,
    /// `work` does not belong to the owner of `upper`.
    WorkOwner,
    /// Apptainer wants a journal.
    NoJournal,
    /// Apptainer refuses what is newer than ext3.
    NewerFeatures,
    /// Deletions that only fuse-overlayfs understands.
    FuseWhiteouts,
    /// Files that e2fsck put into `lost+found`.
    LostAndFound,
    /// A squashfs that cannot be read from end to end.
    DamagedSquashfs,
}

/// Whether a finding keeps an image from being sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something is wrong.
    Error,
    /// Worth knowing; the image works.
    Note,
}

/// One kind of trouble.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is, for programs.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// How often it was met.
    pub count: u64,
    /// What it is, in words.
    pub message: String,
    /// The command to type, or what else to do.
    pub cure: Option<String>,
    /// Whether it is gone now.
    pub fixed: bool,
}

impl Finding {
    /// Something wrong, met once.
    pub(crate) fn error(code: Code, message: impl Into<String>, cure: impl Into<String>) -> Self {
        let (message, cure) = (message.into(), Some(cure.into()));
        Self { code, severity: Severity::Error, count: 1, message, cure, fixed: false }
    }

    /// Something worth knowing.
    pub(crate) fn note(code: Code, count: u64, message: impl Into<String>, cure: Option<String>) -> Self {
        Self { code, severity: Severity::Note, count, message: message.into(), cure, fixed: false }
    }

    /// Whether something still has to be done.
    #[must_use]
    pub fn is_left(&self) -> bool {
        self.severity == Severity::Error && !self.fixed
    }
}

/// The command that does what loses nothing.
pub(crate) fn fix(image: &Path) -> String {
    format!("condatainer overlay check --fix {}", quoted(image))
}

/// The command that does the rest too.
pub(crate) fn force(image: &Path) -> String {
    format!("condatainer overlay check --fix=force {}", quoted(image))
}

/// A path as a shell takes it.
pub(crate) fn quoted(path: &Path) -> String {
    escape::shell_word(&path.display().to_string())
}
