//! The container engine: which one it is, how it is installed, or why there is none. A start and the doctor say the latter in the
//! same words.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::config::Origin;

/// Which of the two programs that go back to Singularity starts the containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Flavour {
    /// Apptainer: FUSE and user namespaces, everything works.
    Apptainer,
    /// SingularityCE: mounts image files by the kernel, so only where it is setuid; see `plan::engine::singularity`.
    SingularityCE,
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Apptainer => "Apptainer",
            Self::SingularityCE => "SingularityCE",
        })
    }
}

/// The engine that starts containers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Engine {
    /// What it is.
    pub flavour: Flavour,
    /// The `apptainer` or `singularity` program.
    pub program: PathBuf,
    /// The key that names it, where one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Its configuration file, where it was found.
    pub config: Option<PathBuf>,
    /// Whether it is a setuid installation: Apptainer by the file alone, SingularityCE only where it may be used as such.
    pub setuid: bool,
    /// Whether its configuration turns on OCI mode, which knows no image layers.
    pub oci_mode: bool,
    /// Directory with our stand-ins for its FUSE programs, which keep signals from them.
    pub interposers: Option<PathBuf>,
    /// Directories that have FUSE programs, and in which it looks before it looks into PATH.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub own_programs: Vec<PathBuf>,
}

impl Engine {
    /// Whether it can be started with another configuration than its own by a caller with this id.
    #[must_use]
    pub(crate) fn takes_configuration(&self, uid: u32) -> bool {
        self.flavour == Flavour::Apptainer && (!self.setuid || uid == 0)
    }

    /// Whether it finds our stand-ins only with a configuration that names them before its own programs, and can be given one.
    #[must_use]
    pub(crate) fn needs_links_first(&self, uid: u32) -> bool {
        let can = self.config.is_some() && self.interposers.is_some() && self.takes_configuration(uid);
        can && !self.own_programs.is_empty() && self.own_programs.iter().all(|dir| condatainer_programs::finds(dir))
    }
}

impl Engine {
    /// Whether it is SingularityCE.
    #[must_use]
    pub(crate) fn is_singularity(&self) -> bool {
        self.flavour == Flavour::SingularityCE
    }
}

/// What SingularityCE cannot use in a file or directory of a stack, by its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unsupported {
    /// Its check of squashfs files is older than this compression.
    Compression(String),
    /// A directory with whiteouts of fuse-overlayfs.
    DeletionsInDirectory,
}

/// Why there is no engine to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissingEngine {
    /// Nothing in PATH, and nothing configured.
    NotInstalled,
    /// A program that cannot be used.
    Unusable {
        /// The program.
        program: PathBuf,
        /// What is wrong with it.
        why: String,
        /// The key that names it, where one does.
        origin: Option<Origin>,
    },
}

impl MissingEngine {
    /// What was found.
    #[must_use]
    pub fn found(&self) -> String {
        match self {
            Self::NotInstalled => {
                "Apptainer is not installed here, nor is SingularityCE: no 'apptainer' or 'singularity' in PATH".into()
            }
            Self::Unusable { program, why, .. } => format!("{}: {why}", program.display()),
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn cure(&self) -> String {
        match self {
            Self::NotInstalled => "install it, or set 'apptainer' in the system configuration".into(),
            Self::Unusable { origin: Some(origin), .. } => format!(
                "it is {origin}: your administrator must name Apptainer there, or take the key out, so that the one in PATH is used"
            ),
            Self::Unusable { origin: None, .. } => "install Apptainer again".into(),
        }
    }
}

impl std::error::Error for MissingEngine {}

impl fmt::Display for MissingEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.found(), self.cure())
    }
}
