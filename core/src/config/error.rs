//! Why a configuration cannot be used.

use std::path::{Path, PathBuf};

use condatainer_images::trust::TrustError;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file exists but cannot be read.
    #[error("{0}: the configuration cannot be read")]
    Read(TrustError),
    /// Not TOML, an unknown key, a value of the wrong kind.
    #[error("{}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, key and what was expected.
        message: String,
    },
    /// Somebody but root could change what every user runs.
    #[error("{} must belong to root and be writable by nobody else: chown -h root {1} && chmod go-w {1}", subject(file, path), path.display())]
    Untrusted {
        /// The file.
        file: PathBuf,
        /// The file, or one of the directories that lead to it.
        path: PathBuf,
    },
    /// A key in the wrong place.
    #[error("{}: {key} {whose}", path.display())]
    SiteOnly {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// Whose it is.
        whose: &'static str,
    },
    /// Paths must not depend on where the reader stands.
    #[error("{origin}: {key} = '{}' is not an absolute path", path.display())]
    Relative {
        /// File or variable.
        origin: String,
        /// The key.
        key: &'static str,
        /// Its value.
        path: PathBuf,
    },
    /// A variable holds something else than its key allows.
    #[error("{variable}: '{value}' is not one of: {allowed}")]
    NotAllowed {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What it allows.
        allowed: &'static str,
    },
}

/// What is wrong: the file itself, or a directory in which another could be put in its place.
fn subject(file: &Path, path: &Path) -> String {
    match file == path {
        true => format!("{}:", file.display()),
        false => format!("{}: {}, which leads to it,", file.display(), path.display()),
    }
}
