//! Hard links of a lower layer, where nothing keeps fuse-overlayfs from confusing them: why, and what to do. Pure.
//!
//! The library that our interposer loads into fuse-overlayfs prevents it (`programs/preload/`). This is for the few machines on which it
//! is not loaded.

use std::path::PathBuf;

use serde::Serialize;

/// What happens.
pub(crate) const CONFUSED: &str = "what is written to one of several hard links in a layer below can land in another";

/// A layer in which it can happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HardLinks {
    /// A layer, or the base, that has a file with several names.
    pub layer: PathBuf,
    /// The fuse-overlayfs that the engine takes.
    pub program: PathBuf,
    /// Why nothing prevents it.
    pub cause: Cause,
}

/// Why the library is not loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The engine looks first into directories of its own, and takes no configuration of ours.
    Bundled,
    /// Our links, or the library, are not installed.
    NoLibrary,
    /// The program is linked statically.
    Static,
}

impl Cause {
    /// The first that holds.
    pub(crate) fn of(has_library: bool, in_reach: bool, takes_preload: bool) -> Option<Self> {
        let causes = [(has_library, Self::NoLibrary), (in_reach, Self::Bundled), (takes_preload, Self::Static)];
        causes.into_iter().find_map(|(is_well, cause)| (!is_well).then_some(cause))
    }

    /// Why, of a program that was named.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Bundled => "it comes with the engine, which loads nothing of ours into it",
            Self::NoLibrary => "there is no library libexec/condatainer/fuse-overlayfs.so for it",
            Self::Static => "it is linked statically, so that no library can be loaded into it",
        }
    }

    /// What to do.
    pub(crate) fn cure(self) -> &'static str {
        match self {
            Self::NoLibrary => "as root: make install makes it in PREFIX/libexec/condatainer",
            Self::Bundled | Self::Static => {
                "keep files with several hard links out of layers: mksquashfs -no-hardlinks makes such a one"
            }
        }
    }
}

impl HardLinks {
    /// The line before a start that writes.
    pub(crate) fn notice(&self) -> String {
        let (layer, program) = (self.layer.display(), self.program.display());
        let (why, cure) = (self.cause.words(), self.cause.cure());
        format!("{layer}: has files with several hard links, and {CONFUSED} with {program}: {why}; {cure}")
    }
}
