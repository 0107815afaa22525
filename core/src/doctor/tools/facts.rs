//! Which programs are installed that work on images.

use std::path::PathBuf;

use crate::machine::version::Version;

/// A program that may be here.
#[derive(Clone, Debug)]
pub(crate) struct Tool {
    pub(super) name: &'static str,
    pub(super) path: Option<PathBuf>,
    /// Where it was asked and told one.
    pub(super) version: Option<Version>,
}

/// What is installed.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// mke2fs first: its version stands for all.
    pub(super) e2fsprogs: Vec<Tool>,
    pub(super) mksquashfs: Tool,
}
