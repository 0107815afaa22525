//! The user's own user and mount namespace, and what is mounted in there.
//!
//! [`user`] makes the user namespace, [`mounts`] the mount namespace, our FUSE mount and the kernel's OverlayFS on it. [`trial`] tells
//! whether this machine can do all that, by doing it.
//!
//! Every step that fails says so in words: what was tried, the system's reason, and where that is known what to do.

pub mod mounts;
pub mod trial;
pub mod user;

use std::io;

use nix::errno::Errno;

/// What cannot be done, and why, in one line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Cannot(pub String);

impl Cannot {
    /// `what` failed with this error.
    pub(crate) fn because(what: &str, error: impl Into<io::Error>) -> Self {
        Self(format!("{what}: {}", error.into()))
    }
}

/// To be given to `map_err`.
pub(crate) fn cannot(what: &str) -> impl FnOnce(Errno) -> Cannot {
    move |errno| Cannot::because(what, errno)
}
