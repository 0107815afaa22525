//! What a request is made of where nobody names it: the layers of `CONDATAINER_OVERLAY` or of the configuration, and the base that
//! `default_distro` names.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

pub use crate::config::OVERLAY_VARIABLE as VARIABLE;
use crate::config::{Config, Origin};
use crate::request::layer::Layer;
use crate::request::names::{FindError, Finder};

/// Why the layers that nobody has typed cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DefaultError {
    /// What was written there cannot be read, or means no file.
    #[error("{origin}: {why}")]
    Find {
        /// Where it stands.
        origin: Origin,
        /// What is wrong.
        why: Box<FindError>,
    },
    /// A file that is not there.
    #[error("{}: no such file or directory; {}", path.display(), origin.cure(", or name other layers"))]
    Missing {
        /// Where it stands.
        origin: Origin,
        /// The file.
        path: PathBuf,
    },
}

/// The layers of a request that names none.
///
/// # Errors
/// One that means no file.
pub fn layers(config: &Config, finder: &Finder<'_>) -> Result<Vec<Layer>, DefaultError> {
    let Some((lists, origin)) = config.overlay() else { return Ok(Vec::new()) };
    let layers = finder.layers(lists).map_err(|why| DefaultError::Find { origin: origin.clone(), why: why.into() })?;
    match layers.iter().find(|layer| !layer.path.exists() && !config.is_node_path(&layer.path)) {
        Some(missing) => Err(DefaultError::Missing { origin, path: missing.path.clone() }),
        None => Ok(layers),
    }
}

/// Whether a variable asks for layers, and so, where a step is started, for a container.
#[must_use]
pub fn are_in_environment(env: &HashMap<String, String>) -> bool {
    env.get(VARIABLE).is_some_and(|value| !value.is_empty())
}

/// The base of a request that names none, where nothing else does either.
#[must_use]
pub fn base(config: &Config, finder: &Finder<'_>) -> Option<Layer> {
    let distro = config.default_distro().filter(|_| config.base(None).is_none())?;
    finder.base(Path::new(&distro)).ok().filter(|base| base.named)
}
