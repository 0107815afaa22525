//! What `make install` puts beside our program, for our program alone.

use std::path::{Path, PathBuf};

/// `libexec/condatainer` of our own installation, whether it is there or not.
pub(crate) fn directory() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    program.parent().and_then(Path::parent).map(|prefix| prefix.join("libexec/condatainer"))
}
