//! A tree that machines see over their root: what is installed in many of them is laid out once, and is the same files in all.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cache::Cache;
use crate::machine::scratch::Scratch;

/// A directory of the cache with such a tree; removed when the last cluster that sees it is gone.
#[derive(Debug)]
pub struct Tree {
    scratch: Scratch,
}

impl Tree {
    /// Makes one. `fill` is given the empty directory that stands for `/`.
    ///
    /// # Errors
    /// When the directory cannot be made, or `fill` fails.
    pub fn lay_out(cache: &Cache, name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<Self> {
        let tree = Self { scratch: Scratch::create(&cache.scratch_directories()?, name)? };
        fill(&tree.path())?;
        Ok(tree)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.scratch.path().join("upper")
    }
}

/// Copies a file to a place in the tree, with these permission bits.
///
/// # Errors
/// When it cannot be read or written.
pub fn put(tree: &Path, host: &Path, inside: &str, mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let place = tree.join(inside.trim_start_matches('/'));
    let copy = || {
        fs::create_dir_all(place.parent().unwrap_or(tree))?;
        fs::copy(host, &place)?;
        fs::set_permissions(&place, fs::Permissions::from_mode(mode))
    };
    copy().with_context(|| format!("cannot copy {} to {}", host.display(), place.display()))
}
