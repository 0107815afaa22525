//! Conda environments as modules: made by the user's own tool at the path where they will be seen, and packed.
//!
//! Conda writes the path of an environment into its files, so it must be made at `/cnt/NAME/VERSION`, which no user may write on
//! the host. So the tool runs in a container on the configured base, with a directory of ours as `/cnt` and itself brought along:
//! micromamba is one static program, conda and mamba are an installation that is shown at its own path. A user namespace of our
//! own on the host would need the same (a new root, for there is no `/cnt` to mount on), and then programs that packages run
//! while they are linked would find the host's libraries instead of those that the module will meet. Home is there, and with it
//! the tool's configuration and its cache of packages. The environment of a new workspace image, `/ext3/env`, is made in the same
//! way, and goes into the image when that is made: writing it through FUSE would take many times as long.

mod command;
mod error;
mod job;
mod pack;
mod record;
mod said;
mod spec;
mod surroundings;
mod tool;
mod yaml;

use std::collections::HashMap;
use std::path::PathBuf;

pub use error::{CondaError, Failure};
pub use job::{Contents, build, contents, recorded};
pub use record::{ASKED, EXPLICIT};
pub use spec::{Format, Spec, SpecFile};
pub use tool::{Dialect, NAMES, Tool};

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

/// What was made.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Report {
    /// The layer.
    #[serde(serialize_with = "condatainer_images::system::shown::path")]
    pub path: PathBuf,
    /// The module's name.
    pub name: String,
    /// Where the environment is seen in a container.
    pub prefix: String,
    /// What it was made from: a file's path, or packages.
    pub source: String,
    /// The tool.
    #[serde(serialize_with = "condatainer_images::system::shown::path")]
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
