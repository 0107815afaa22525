//! The links that stand for Slurm's commands.

use std::path::PathBuf;

use crate::machine::libexec;

/// Where the container shows the links.
pub(super) const SHOWN: &str = "/.condatainer.d/bin";

/// The directory with the links, as `make install` makes it beside the directory of our program.
pub(super) fn links() -> Option<PathBuf> {
    let dir = libexec::directory()?.join("slurm");
    dir.is_dir().then_some(dir)
}
