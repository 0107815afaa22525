//! The links that stand for Slurm's commands.

use std::path::PathBuf;

/// Where the container shows the links.
pub(super) const SHOWN: &str = "/.condatainer.d/bin";

/// The directory with the links, as `make install` makes it beside the directory of our program.
pub(super) fn links() -> Option<PathBuf> {
    let dir = std::env::current_exe().ok()?.parent()?.parent()?.join("libexec/condatainer/slurm");
    dir.is_dir().then_some(dir)
}
