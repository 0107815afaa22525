//! What is known about the engine and the programs that it starts.

use std::path::PathBuf;

use crate::config::Origin;
use crate::machine::engine::MissingEngine;
use crate::machine::version::Version;

/// What is known about the engine and its helpers.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The one that starts use, or why there is none.
    pub(super) engine: Result<Engine, MissingEngine>,
    /// An engine that is here and that starts do not use.
    pub(super) unused: Option<PathBuf>,
    /// fuse2fs, fuse-overlayfs, squashfuse.
    pub(super) helpers: [Helper; 3],
    /// fusermount3 or fusermount, and whether it is setuid root.
    pub(super) fusermount: Option<(PathBuf, bool)>,
    /// Our links with the names of the FUSE programs, those that are missing, and where they are looked for.
    pub(super) interposers: Interposers,
}

/// The engine that was found.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    pub(super) program: PathBuf,
    /// The key that names it, where one does.
    pub(super) origin: Option<Origin>,
    /// What `--version` printed, or why it did not.
    pub(super) said: Result<String, String>,
    /// Installed with its setuid starter.
    pub(super) setuid: bool,
    /// Its configuration file and text.
    pub(super) config: Option<(PathBuf, String)>,
}

/// A FUSE program.
#[derive(Clone, Debug)]
pub(crate) struct Helper {
    pub(super) name: &'static str,
    pub(super) path: Option<PathBuf>,
    pub(super) version: Option<Version>,
    /// It comes with the engine, which then takes no other.
    pub(super) bundled: bool,
    /// Starts put our links in front of it.
    pub(super) in_reach: bool,
    /// It looks at files by the C library's statx(2), in whose place the preload stands.
    pub(super) takes_preload: bool,
}

/// See [`crate::run::engine_mounts::daemons`].
#[derive(Clone, Debug)]
pub(crate) struct Interposers {
    pub(super) directory: Option<PathBuf>,
    pub(super) missing: Vec<&'static str>,
    /// The library that is loaded into fuse-overlayfs is beside them.
    pub(super) preload: bool,
}
