//! Why a file is not read, or not believed.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

/// See the module. The sentences say what is wrong and with which file; what to do depends on what the file is for.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The system's own reason, also where nothing is there.
    #[error("{}: {}", path.display(), reason(source))]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A symbolic link where none is followed.
    #[error("{}: is a symbolic link of {owner}, and not followed", path.display())]
    Link {
        /// The link.
        path: PathBuf,
        /// Who has made it.
        owner: String,
    },
    /// A directory, a fifo, a device, a socket.
    #[error("{}: is {what}, not a file", path.display())]
    NotAFile {
        /// Its path.
        path: PathBuf,
        /// What it is, with its article.
        what: &'static str,
    },
    /// More than such a file ever has.
    #[error("{}: has more than {} KiB, which is too much for what it should be", path.display(), largest >> 10)]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read, in bytes.
        largest: u64,
    },
    /// It is to be text.
    #[error("{}: is not text", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// Of somebody who has no say here.
    #[error("{}: belongs to {owner}, and must belong to {trusted}", path.display())]
    Owner {
        /// The file or directory.
        path: PathBuf,
        /// Its owner.
        owner: String,
        /// Who is believed.
        trusted: String,
    },
    /// Whoever it belongs to, others can write it.
    #[error("{}: belongs to {owner}, but {who} can write it too", path.display())]
    Writable {
        /// The file or directory.
        path: PathBuf,
        /// Its owner.
        owner: String,
        /// Who else.
        who: String,
    },
}

impl TrustError {
    /// Whether nothing is there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        let of_kind = |kind| matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
        matches!(self, Self::Io { source, .. } if of_kind(source.kind()))
    }

    /// Whether somebody has to be believed who is not, for what there is; all else is a mishap.
    #[must_use]
    pub fn is_distrust(&self) -> bool {
        matches!(self, Self::Link { .. } | Self::Owner { .. } | Self::Writable { .. })
    }

    /// What it is about.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Io { path, .. }
            | Self::Link { path, .. }
            | Self::NotAFile { path, .. }
            | Self::TooLarge { path, .. }
            | Self::NotText { path }
            | Self::Owner { path, .. }
            | Self::Writable { path, .. } => path,
        }
    }
}

fn reason(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |code| Errno::from_raw(code).desc().to_lowercase())
}
