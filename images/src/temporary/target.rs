//! The place of a file that is to be made: looked at before the long work, and filled in one step when the file is whole.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::attributes;
use super::draft::Draft;
use super::draft_name::Kind;
use super::sweep::sweep;
use crate::lock::Guard;
use crate::trust::open_dir::directory_of;

/// Why nothing can be made at a path. Whoever wanted it says so in his own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It ends in no name: `..`, the root.
    NoName,
    /// The directory in which it would be is not there.
    NoDirectory,
    /// It is a directory.
    IsDirectory,
    /// Something else is there, and is not to be replaced.
    Exists,
}

/// A place that was looked at.
#[derive(Debug)]
pub struct Target {
    path: PathBuf,
    replace: bool,
}

impl Target {
    /// Refuses a place that is taken, unless what is there may be replaced.
    ///
    /// # Errors
    /// See [`Unfit`].
    pub fn look(path: &Path, replace: bool) -> Result<Self, Unfit> {
        if path.file_name().is_none() {
            return Err(Unfit::NoName);
        }
        if !directory_of(path).is_dir() {
            return Err(Unfit::NoDirectory);
        }
        match fs::symlink_metadata(path) {
            Ok(meta) if meta.is_dir() => Err(Unfit::IsDirectory),
            Ok(_) if !replace => Err(Unfit::Exists),
            _ => Ok(Self { path: path.into(), replace }),
        }
    }

    /// Where the file is to be.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory in which it is to be.
    #[must_use]
    pub fn directory(&self) -> &Path {
        directory_of(&self.path)
    }

    /// Whether what is there is replaced.
    #[must_use]
    pub fn replaces(&self) -> bool {
        self.replace
    }

    /// An empty file beside the place. What killed makers have left is taken away first.
    ///
    /// # Errors
    /// None can be made there.
    pub fn draft(&self) -> io::Result<Draft> {
        sweep(self.directory());
        Draft::new(self.directory(), self.path.file_name().unwrap_or_default(), Kind::New)
    }

    /// Opens the draft to those to whom `mode` would, as far as the caller's umask allows, and to whoever could read the `old` file
    /// that it replaces.
    ///
    /// # Errors
    /// Its mode cannot be changed.
    pub fn share(&self, draft: &Draft, mode: u32, old: Option<&File>) -> io::Result<()> {
        draft.open_to(mode)?;
        if let Some(old) = old {
            attributes::share_alike(old, draft.file());
        }
        Ok(())
    }

    /// Gives the finished draft its name. Its lock is held until the value returned is dropped.
    ///
    /// # Errors
    /// Something has the name by now and is not to be replaced, or the file does not reach the disk.
    pub fn put(&self, draft: Draft) -> io::Result<(File, Guard)> {
        if self.replace { draft.replace(&self.path) } else { draft.finish(&self.path) }
    }
}
