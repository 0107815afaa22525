//! What is to be made, and what was made.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;

use super::error::CondaError;
use super::spec::Spec;
use crate::config::Config;
use condatainer_images::verbs::seal::Compression;

/// What is to be made, and how.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// What it is to hold.
    pub spec: Spec,
    /// Channels before those of the specification and of the tool's own configuration, as they are written.
    pub channels: Vec<String>,
    /// The tool, where it is named.
    pub conda: Option<PathBuf>,
    /// The base that it is made on; the configured one otherwise.
    pub base: Option<PathBuf>,
    /// Where the layer, or the image, goes. A layer's file name says what the module is called: the environment is at
    /// `/cnt/NAME/VERSION`.
    pub layer: PathBuf,
    /// Replaces a layer that is there.
    pub update: bool,
    /// How the layer is compressed.
    pub compression: Compression,
    /// Where the work is done; the environment's size is needed there.
    pub tmpdir: PathBuf,
    /// What the relative paths of channels start from.
    pub cwd: PathBuf,
    /// The configuration.
    pub config: &'a Config,
    /// The environment.
    pub env: &'a HashMap<String, String>,
}

impl Request<'_> {
    /// An error where the work is done, which is not where the layer goes.
    pub(super) fn tmpdir_refused(&self, error: io::Error) -> CondaError {
        let path = self.tmpdir.clone();
        CondaError::Tmpdir { origin: self.config.origin_of_tmpdir(&path), path, error }
    }
}

/// What was made.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Report {
    /// The layer.
    #[serde(serialize_with = "condatainer_images::system::json_paths::path")]
    pub path: PathBuf,
    /// The module's name.
    pub name: String,
    /// Where the environment is seen in a container.
    pub prefix: String,
    /// What it was made from: a file's path, or packages.
    pub source: String,
    /// The tool.
    #[serde(serialize_with = "condatainer_images::system::json_paths::path")]
    pub tool: PathBuf,
    /// Packages in it, dependencies included.
    pub packages: usize,
    /// The layer's length, in bytes.
    pub size_bytes: u64,
    /// Scripts that `conda activate` would run and a start does not.
    pub activation: Vec<String>,
    /// Whether it took the place of an older one.
    pub replaced: bool,
    /// How long it took, in seconds.
    pub seconds: f64,
}
