//! What the site and the user have set up.

use std::path::PathBuf;

use super::libraries::ImageDirectory;
use super::log::LogFacts;
use super::policy::PolicyFacts;
use crate::config::Origin;
use crate::machine::facts::Kind;

/// What was set up.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The configuration files that are there and the keys in them, or what is wrong with them.
    pub(super) configuration: Result<Vec<(PathBuf, Vec<String>)>, String>,
    /// The base, and what it is or why it cannot be used; `None` where none is named.
    pub(super) base: Option<(PathBuf, Result<Kind, String>)>,
    /// Who has named it.
    pub(super) base_origin: Option<Origin>,
    pub(super) tmpdir: Tmpdir,
    pub(super) image_dirs: Vec<ImageDirectory>,
    pub(super) policy: PolicyFacts,
    pub(super) log: LogFacts,
}

/// The directory for what `:tmp` layers write.
#[derive(Clone, Debug)]
pub(crate) struct Tmpdir {
    pub(super) path: PathBuf,
    /// Why nothing can be made there, and what to do.
    pub(super) problem: Option<(String, String)>,
    /// For root, who may write everywhere: whether others may.
    pub(super) open_to_all: bool,
    /// Bytes that the caller can use.
    pub(super) free: Option<u64>,
    /// The file system, if it is one of the network.
    pub(super) network: Option<String>,
    /// The file system is memory.
    pub(super) in_memory: bool,
    /// What `:tmp` layers write is kept elsewhere.
    pub(super) for_builds: bool,
}
