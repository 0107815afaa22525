//! Why a tool did not do its work.

use std::io;
use std::path::PathBuf;

/// See the module. Each sentence names the tool; which file it was about, the caller knows.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It is not there.
    #[error("{tool} was not found; install the package {package}")]
    Missing {
        /// Its name.
        tool: &'static str,
        /// The package that has it.
        package: &'static str,
    },
    /// Its release cannot do what is needed.
    #[error("{tool} {found} is too old ({}); install {wanted}", program.display())]
    Old {
        /// Its name.
        tool: &'static str,
        /// Where it lies.
        program: PathBuf,
        /// What it says about itself.
        found: String,
        /// The package, and from which release on.
        wanted: &'static str,
    },
    /// It could not be started.
    #[error("{tool} could not be started: {error}")]
    Start {
        /// Its name.
        tool: &'static str,
        /// As the system said it.
        error: io::Error,
    },
    /// It would not come to an end with this image.
    #[error(
        "its files claim the same blocks over and over again: {tool} would work on it for hours, and no accident makes such an image; go back to a copy"
    )]
    Endless {
        /// Its name.
        tool: &'static str,
    },
    /// It ended with an error, or left something out.
    #[error("{tool} failed: {said}")]
    Failed {
        /// Its name.
        tool: &'static str,
        /// The line in which it says why.
        said: String,
    },
}
