//! Where a value comes from: a file, a variable, or nobody has set it.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// `[fixed]` in the site's file.
    Fixed(PathBuf),
    /// A variable.
    Environment(String),
    /// The user's file.
    User(PathBuf),
    /// The site's file.
    Site(PathBuf),
    /// Nobody has set it.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(path) => write!(f, "{} [fixed]", path.display()),
            Self::Environment(name) => f.write_str(name),
            Self::User(path) | Self::Site(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}
