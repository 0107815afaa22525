//! Layers by name: `samtools/1.16` instead of a path to `samtools--1.16.sqf`.
//!
//! One look-up serves the command line, scripts and the plugin. A name is found in the image directories, first match first; what
//! is a path and what is a name follows from how it is written ([`is_path`]). Names and file names are those of the original
//! CondaTainer, so its modules are found as they are.

mod dirs;
mod error;
mod library;
mod name;
mod version;

pub use dirs::{ImageDir, user_directory};
pub use error::NameError;
pub use library::{Found, Library};
pub use name::Name;

use std::path::{Path, PathBuf};

use crate::request::layer::{Layer, LayerError};

/// What a layer's file can be called, in the order in which a name looks for it.
pub const SUFFIXES: [&str; 4] = ["sqf", "sqsh", "squashfs", "img"];
/// As [`SUFFIXES`], for a base.
const BASE_SUFFIXES: [&str; 4] = ["sif", "sqf", "sqsh", "squashfs"];
/// Endings that make a word a path.
const PATH_SUFFIXES: [&str; 6] = ["img", "ext3", "sqf", "sqsh", "squashfs", "sif"];

/// Whether this text means a path. All else is a name, or, where no such name exists but a file does, that file.
#[must_use]
pub fn is_path(text: &Path) -> bool {
    let written = text.to_string_lossy();
    let starts = ["/", "./", "../", "~/"].iter().any(|start| written.starts_with(start));
    let ending = || text.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    starts || matches!(&*written, "." | ".." | "~") || ending().is_some_and(|e| PATH_SUFFIXES.contains(&e.as_str()))
}

/// Where layers and bases that are written down are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Finder<'a> {
    /// What relative paths start from.
    pub cwd: &'a Path,
    /// What `~/` stands for.
    pub home: Option<&'a Path>,
    /// Where names are found.
    pub library: &'a Library,
}

/// Why something that was written down means no file.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// It cannot be read.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// No such name.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl Finder<'_> {
    /// The layers of repeated options, each a list, with absolute paths.
    ///
    /// # Errors
    /// What is no layer, or means no file.
    pub fn layers(&self, lists: &[String]) -> Result<Vec<Layer>, FindError> {
        let mut layers = Vec::new();
        for list in lists {
            for layer in Layer::parse_list(list)? {
                layers.push(self.layer(layer)?);
            }
        }
        Ok(layers)
    }

    /// One layer with an absolute path.
    ///
    /// # Errors
    /// As [`Finder::layers`].
    pub fn layer(&self, layer: Layer) -> Result<Layer, FindError> {
        match self.by_name(&layer.path, &SUFFIXES)? {
            Some(path) => Ok(Layer { path, named: true, ..layer }),
            None => Ok(layer.absolute(self.cwd, self.home)?),
        }
    }

    /// The base image that a path or a name means; its mode is of no consequence.
    ///
    /// # Errors
    /// As [`Finder::layers`].
    pub fn base(&self, written: &Path) -> Result<Layer, FindError> {
        match self.by_name(written, &BASE_SUFFIXES)? {
            Some(path) => Ok(Layer { named: true, ..Layer::at(path) }),
            None => Ok(Layer::at(written).absolute(self.cwd, self.home)?),
        }
    }

    fn by_name(&self, written: &Path, suffixes: &[&str]) -> Result<Option<PathBuf>, NameError> {
        if is_path(written) {
            return Ok(None);
        }
        let found = Name::parse(&written.to_string_lossy()).and_then(|name| self.library.find(&name, suffixes));
        match found {
            Ok(path) => Ok(Some(path)),
            Err(_) if self.cwd.join(written).exists() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
