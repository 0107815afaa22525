//! What is to be built, and what comes of it.

use std::path::PathBuf;

use crate::build::recipe::Recipe;
use crate::config::Origin;
use condatainer_images::system::fakeroot::Fakeroot;
use condatainer_images::verbs::seal::Compression;

/// What is to be built, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What it is made from; nothing: what the layer itself has recorded.
    pub recipe: Option<Recipe>,
    /// Where the layer goes.
    pub layer: PathBuf,
    /// Replaces a layer that is there.
    pub update: bool,
    /// Builds as root of a user namespace.
    pub fakeroot: bool,
    /// Who has decided that, where it was no option.
    pub fakeroot_origin: Option<Origin>,
    /// How the layer is compressed; zstd where Apptainer can be told.
    pub compression: Option<Compression>,
    /// Where the building is done; a few times the layer's size is needed there.
    pub tmpdir: PathBuf,
    /// Who has named that, where it was no option.
    pub tmpdir_origin: Option<Origin>,
    /// Apptainer.
    pub engine: PathBuf,
    /// Further arguments for `apptainer build`.
    pub arguments: Vec<String>,
}

/// What was built.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Report {
    /// The layer.
    #[serde(serialize_with = "condatainer_images::system::json_paths::path")]
    pub path: PathBuf,
    /// Its length, in bytes.
    pub size_bytes: u64,
    /// What it was made from: a definition's path, a URI, or `recorded` for the layer's own definition.
    pub source: String,
    /// Where in the layer its definition is recorded; null where it is not.
    pub definition: Option<&'static str>,
    /// How it is compressed.
    pub compression: &'static str,
    /// In which way Apptainer was root; null without fakeroot.
    pub fakeroot: Option<Fakeroot>,
    /// Whether everything in it belongs to root because no other owners could be kept.
    pub root_owned: bool,
    /// Whether it took the place of an older one.
    pub replaced: bool,
    /// How long it took, in seconds.
    pub seconds: f64,
}
