//! The directory that a command starts in: the caller's own, by a path that leads to it in the container too. Pure.
//!
//! Apptainer shows the working directory by the path that it is given, and where that leads through a link it shows nothing: the
//! command would run somewhere else. So the engine is given the path without links. In the container the shim enters the caller's own
//! path if it leads to the same directory there, else the one without links, and nothing starts in any other directory.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::machine::directories::WorkingDirectory;
use crate::plan::refusal::Refusal;

/// Where the command starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Directory {
    /// Paths in the container, the best one first.
    #[serde(serialize_with = "condatainer_images::system::json_paths::paths")]
    pub paths: Vec<PathBuf>,
    /// Device and inode that it must have; `None` for a directory of the container itself.
    pub identity: Option<(u64, u64)>,
    /// Where the engine is started; `None`: where the caller is.
    #[serde(serialize_with = "condatainer_images::system::json_paths::maybe")]
    pub engine: Option<PathBuf>,
}

/// Every container has these itself. Apptainer shows nothing of the host in their places, except behind the links to them.
const SYSTEM: [&str; 16] = [
    "/",
    "/bin",
    "/boot",
    "/etc",
    "/lib",
    "/lib64",
    "/mnt",
    "/opt",
    "/run",
    "/sbin",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/lib64",
    "/usr/sbin",
    "/var",
];
/// So is everything below these.
const VIRTUAL: [&str; 3] = ["/dev", "/proc", "/sys"];
/// What layers bring lies below these.
const OF_LAYERS: [&str; 2] = ["/cnt", "/ext3"];
/// What images are made of: nothing of the host is put in there unasked.
const OF_IMAGES: [&str; 6] = ["/bin", "/etc", "/lib", "/lib64", "/sbin", "/usr"];

/// Whether a container has a directory of its own at this path, which the host's must not hide.
#[must_use]
pub fn is_the_containers(path: &Path) -> bool {
    is_of_the_system(path) || OF_LAYERS.iter().chain(&OF_IMAGES).any(|own| path.starts_with(own))
}

fn is_of_the_system(path: &Path) -> bool {
    SYSTEM.iter().any(|own| path == Path::new(own)) || VIRTUAL.iter().any(|own| path.starts_with(own))
}

impl Directory {
    /// For a caller who has named a directory of the container, or wants to stay where he is.
    ///
    /// # Errors
    /// The place cannot be shown.
    pub(crate) fn decide(named: Option<&Path>, current: &WorkingDirectory) -> Result<Self, Refusal> {
        let refuse =
            |reason: &str| Err(Refusal::NoWorkingDirectory { path: current.path.clone(), reason: reason.into() });
        let hides_layers = OF_LAYERS.iter().any(|own| current.path.starts_with(own));
        match (named, &current.problem) {
            (Some(named), problem) => {
                let cannot_be_shown = hides_layers || problem.is_some();
                let own = Self::of(current).engine;
                let engine = if cannot_be_shown { Some("/".into()) } else { own };
                Ok(Self { paths: vec![named.into()], identity: None, engine })
            }
            (None, Some(problem)) => refuse(problem),
            (None, None) if hides_layers => refuse("layers have a directory of their own there"),
            (None, None) => Ok(Self::of(current)),
        }
    }

    /// The caller's own.
    pub fn of(current: &WorkingDirectory) -> Self {
        let of_the_system = current.logical.iter().chain([&current.path]).any(|path| is_of_the_system(path));
        Self {
            paths: current.logical.iter().chain([&current.path]).cloned().collect(),
            identity: (!of_the_system).then_some(current.identity),
            engine: if of_the_system {
                Some("/".into())
            } else {
                current.logical.as_ref().map(|_| current.path.clone())
            },
        }
    }
}

#[cfg(test)]
#[path = "tests/working_directory.rs"]
mod tests;
