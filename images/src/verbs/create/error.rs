//! Why an image could not be made.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use condatainer_formats::size::Size;
use nix::errno::Errno;

use super::spec::MAX_SIZE;
use crate::image::ImageError;
use crate::tools::ToolError;

/// Who sets the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The file system is that full.
    FileSystem,
    /// The caller's disk quota.
    User,
    /// The disk quota of the caller's group.
    Group,
}

impl Limit {
    fn leaves(self, available: impl Display) -> String {
        match self {
            Self::FileSystem => format!("{available} are free"),
            Self::User => format!("your disk quota leaves {available}"),
            Self::Group => format!("your group's disk quota leaves {available}"),
        }
    }
}

/// Why an image was not made. Nothing is left at the path.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Too small for a file system with a journal.
    #[error("{}: {} is too small for an image; the least is 64 MiB (-s 64M)", path.display(), Size(*size))]
    TooSmall {
        /// The target.
        path: PathBuf,
        /// In bytes.
        size: u64,
    },
    /// Larger than ext3 can be.
    #[error("{}: {} are too many for an image; the most is {}", path.display(), Size(*size), Size(MAX_SIZE))]
    TooLarge {
        /// The target.
        path: PathBuf,
        /// In bytes.
        size: u64,
    },
    /// Something is there already.
    #[error("{}: exists already; name another file, or remove it first", path.display())]
    Exists {
        /// The target.
        path: PathBuf,
    },
    /// The directory for it is not there.
    #[error("{}: the directory {} does not exist; make it first", path.display(), directory.display())]
    NoDirectory {
        /// The target.
        path: PathBuf,
        /// What is missing.
        directory: PathBuf,
    },
    /// The file system is full.
    #[error("{}: what it is to hold does not fit into {}; make it larger (-s)", path.display(), Size(*size))]
    ContentsTooLarge {
        /// The image.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// The label does not fit.
    #[error("{}: the label \"{label}\" is too long or has control characters; at most 16 bytes fit", path.display())]
    Label {
        /// The target.
        path: PathBuf,
        /// Escaped.
        label: String,
    },
    /// Not enough space for what is written at once.
    #[error("{}: {} are needed at once, {} in {}; {}", path.display(), Size(*needed), limit.leaves(Size(*available)), directory.display(), less(*allocate))]
    NoSpace {
        /// The target.
        path: PathBuf,
        /// Where it is to be made.
        directory: PathBuf,
        /// In bytes.
        needed: u64,
        /// In bytes.
        available: u64,
        /// Who sets the limit.
        limit: Limit,
        /// Whether all the space was to be reserved.
        allocate: bool,
    },
    /// No more files, however small.
    #[error("{}: {} in {}; remove some files, or make it elsewhere", path.display(), limit.leaves("0 inodes"), directory.display())]
    NoFiles {
        /// The target.
        path: PathBuf,
        /// Where it is to be made.
        directory: PathBuf,
        /// Who sets the limit.
        limit: Limit,
    },
    /// The process may not write files of that size.
    #[error("{}: your limit on file sizes is {} and the image has {}; raise it (ulimit -f), or make the image smaller (-s)", path.display(), Size(*limit), Size(*size))]
    FileLimit {
        /// The target.
        path: PathBuf,
        /// In bytes.
        size: u64,
        /// In bytes.
        limit: u64,
    },
    /// The file system has no files of that size.
    #[error("{}: the file system of {} cannot hold a file of {}; make it smaller (-s), or elsewhere", path.display(), directory.display(), Size(*size))]
    FileTooLarge {
        /// The target.
        path: PathBuf,
        /// Where it was to be made.
        directory: PathBuf,
        /// In bytes.
        size: u64,
    },
    /// It became full while the image was made.
    #[error("{}: {}; nothing was made, free some space or make it elsewhere", path.display(), if *quota { "your disk quota is used up" } else { "no space is left there" })]
    Full {
        /// The target.
        path: PathBuf,
        /// Whether it is a quota, not the file system.
        quota: bool,
    },
    /// The caller may not make files there.
    #[error("{}: you cannot make files in {} ({error}); make it elsewhere", path.display(), directory.display())]
    NotThere {
        /// The target.
        path: PathBuf,
        /// The directory.
        directory: PathBuf,
        /// As the system said it.
        error: io::Error,
    },
    /// The file system cannot reserve space.
    #[error("{}: the file system here cannot allocate space in advance; leave --allocate out", path.display())]
    CannotAllocate {
        /// The target.
        path: PathBuf,
    },
    /// mke2fs is missing or failed.
    #[error("{}: {error}", path.display())]
    Tool {
        /// The target.
        path: PathBuf,
        /// What it said.
        error: ToolError,
    },
    /// mke2fs made something else than it was asked for.
    #[error("{}: the new file system would be of no use: {reason}; look into /etc/mke2fs.conf and MKE2FS_CONFIG", path.display())]
    Unfit {
        /// The target.
        path: PathBuf,
        /// In words.
        reason: String,
    },
    /// The finished image could not be read back.
    #[error(transparent)]
    Image(ImageError),
    /// Any other answer of the operating system.
    #[error("{}: cannot be made: {error}", path.display())]
    Io {
        /// The target.
        path: PathBuf,
        /// As the system said it.
        error: io::Error,
    },
}

impl CreateError {
    pub(super) fn io(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOSPC) => Self::Full { path, quota: false },
            Some(Errno::EDQUOT) => Self::Full { path, quota: true },
            Some(Errno::EEXIST) => Self::Exists { path },
            _ => Self::Io { path, error },
        }
    }

    /// An error on a file that was made in `directory`.
    pub(super) fn io_in(path: &Path, directory: &Path, error: io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EACCES | Errno::EROFS | Errno::EPERM) => {
                Self::NotThere { path: path.into(), directory: directory.into(), error }
            }
            _ => Self::io(path, error),
        }
    }
}

fn less(allocate: bool) -> &'static str {
    if allocate { "make it smaller, or sparse (without --allocate)" } else { "free some space, or make it elsewhere" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_full_quota_are_told_apart() {
        let said = |errno: Errno| CreateError::io(Path::new("a.img"), errno.into()).to_string();
        assert!(said(Errno::ENOSPC).starts_with("a.img: no space is left there; nothing was made"));
        assert!(said(Errno::EDQUOT).starts_with("a.img: your disk quota is used up; nothing was made"));
        assert!(said(Errno::EEXIST).contains("exists already"));
    }

    #[test]
    fn every_limit_has_its_words() {
        let said = |limit| {
            let (path, directory) = ("a.img".into(), "/d".into());
            CreateError::NoSpace { path, directory, needed: 9, available: 5, limit, allocate: false }.to_string()
        };
        let end = "in /d; free some space, or make it elsewhere";
        assert_eq!(said(Limit::FileSystem), format!("a.img: 9 B are needed at once, 5 B are free {end}"));
        assert!(said(Limit::User).contains("your disk quota leaves 5 B in /d"));
        assert!(said(Limit::Group).contains("your group's disk quota leaves 5 B in /d"));
    }
}
