//! Why a configuration cannot be used.

use std::path::PathBuf;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file exists but cannot be read.
    #[error("{}: cannot read the configuration: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, a value of the wrong kind.
    #[error("{}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, key and what was expected.
        message: String,
    },
    /// Somebody but root could change what every user runs.
    #[error("{0}: must belong to root and be writable by nobody else: chown root {0} && chmod go-w {0}", path.display())]
    Untrusted {
        /// The file.
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
    #[error("{variable}: '{value}' is not one of: true, false")]
    NotABool {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
    },
}
