//! From what was written down to a file: a path as it stands, a name by the library.

use std::path::{Path, PathBuf};

use super::error::{FindError, NameError};
use super::library::Library;
use super::name::Name;
use super::suffix::{BASE_SUFFIXES, SUFFIXES, is_path};
use crate::request::layer::Layer;

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
