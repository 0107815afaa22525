//! Why there is no container engine to start: none is installed, or the site's key names something else. A start and the doctor
//! say it in the same words.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::config::Origin;

/// See the module.
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
