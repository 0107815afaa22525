//! Why an image cannot be had, each with the command that cures it.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use condatainer_formats::size::Size;
use nix::errno::Errno;
use nix::unistd::Uid;

use crate::image::ImageError;
use crate::tools::ToolError;

/// Why an image cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AcquireError {
    /// The path is not a usable image, or the file system inside is damaged or not supported.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// It is an image, but has no ext file system.
    #[error("{}: is a {kind} without a writable overlay; only ext3 images have owners to change", path.display())]
    NoExt {
        /// The image.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// The file cannot be opened for writing.
    #[error("{}: cannot be opened for writing: {}", path.display(), why_not_writable(path, error))]
    NotWritable {
        /// The image.
        path: PathBuf,
        /// As the system said it.
        error: io::Error,
    },
    /// A write behind the limit on file sizes would end this process in the middle of its work.
    #[error("{}: your limit on file sizes is {} and the image has {}; raise it (ulimit -f)", path.display(), Size(*limit), Size(*size))]
    FileLimit {
        /// The image.
        path: PathBuf,
        /// Where its file system ends, in bytes.
        size: u64,
        /// In bytes.
        limit: u64,
    },
    /// The system refused the lock for a reason of its own.
    #[error("{}: cannot be locked: {error}", path.display())]
    NotLockable {
        /// The image.
        path: PathBuf,
        /// As the system said it.
        error: io::Error,
    },
    /// Somebody uses it.
    #[error("{}: is in use ({by}); try again when it is free", path.display())]
    Busy {
        /// The image.
        path: PathBuf,
        /// Who, as far as that can be told.
        by: String,
    },
    /// It was not unmounted cleanly.
    #[error("{}: {what}; run `condatainer overlay check --fix {}` first", path.display(), path.display())]
    Dirty {
        /// The image.
        path: PathBuf,
        /// What is left to be done.
        what: &'static str,
    },
    /// e2fsck was to clean it and did not.
    #[error("{}: {error}; run `condatainer overlay check --fix {}`, which says more", path.display(), path.display())]
    Tool {
        /// The image.
        path: PathBuf,
        /// What e2fsck said.
        error: ToolError,
    },
}

impl AcquireError {
    /// What is waited for by who waits, where somebody uses the image.
    #[must_use]
    pub fn waits_for(&self) -> Option<String> {
        match self {
            Self::Busy { path, by } => Some(format!("{}: in use ({by}): waiting until it is free", path.display())),
            _ => None,
        }
    }
}

/// The system's answer with what to do about it.
fn why_not_writable(path: &Path, error: &io::Error) -> String {
    let shown = path.display();
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EACCES) if is_mine(path) => format!("permission denied; run 'chmod u+w {shown}'"),
        Some(Errno::EACCES) => "permission denied; ask its owner, or work on a copy".into(),
        Some(Errno::EPERM) => {
            format!("it is marked as immutable or append-only; 'chattr -ia {shown}' (as root) takes the mark away")
        }
        Some(Errno::EROFS) => "its file system is read-only here; work on a copy in another place".into(),
        Some(Errno::ETXTBSY) => "it is being run as a program; try again when that has ended".into(),
        _ => error.to_string(),
    }
}

fn is_mine(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.uid() == Uid::effective().as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_of_the_system_has_its_cure() {
        let mine = tempfile::NamedTempFile::new().unwrap();
        let said = |path: &Path, errno: Errno| {
            AcquireError::NotWritable { path: path.into(), error: errno.into() }.to_string()
        };
        let shown = mine.path().display();
        let own = said(mine.path(), Errno::EACCES);
        assert_eq!(own, format!("{shown}: cannot be opened for writing: permission denied; run 'chmod u+w {shown}'"));
        assert!(said(Path::new("/nowhere"), Errno::EACCES).ends_with("ask its owner, or work on a copy"));
        for (errno, words) in [
            (Errno::EPERM, "chattr -ia"),
            (Errno::EROFS, "read-only here; work on a copy"),
            (Errno::ETXTBSY, "being run as a program"),
            (Errno::EIO, "Input/output error"),
        ] {
            let line = said(mine.path(), errno);
            assert!(line.contains(words) && !line.contains('\n'), "{line}");
        }
    }
}
