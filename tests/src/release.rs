//! The Debian releases a cluster can be made of, each chosen for the Slurm version that it carries.

use std::fmt;

/// One Debian release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Release {
    /// Debian 12, Slurm 22.05, no Apptainer.
    Bookworm,
    /// Debian 13, Slurm 24.11, with Apptainer taken from sid.
    Trixie,
    /// Debian unstable, the newest Slurm and Apptainer of the archive.
    Sid,
}

impl Release {
    /// All releases, the oldest Slurm first.
    pub const ALL: [Self; 3] = [Self::Bookworm, Self::Trixie, Self::Sid];

    /// The archive's name of the release, which is also its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Sid => "sid",
        }
    }

    /// Whether the root of this release has Apptainer: its package needs a newer libc than bookworm has.
    #[must_use]
    pub fn has_apptainer(self) -> bool {
        self != Self::Bookworm
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
