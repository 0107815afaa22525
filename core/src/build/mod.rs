//! Building: a definition, or an image from a registry or a file, becomes a read-only squashfs layer.
//!
//! `apptainer build` makes a SIF in a temporary directory. Its system partition is a squashfs already, so the layer is that byte
//! range, copied to a draft beside its place and renamed when it is on disk. The compression is chosen by arguments for the
//! mksquashfs that Apptainer calls itself: a sandbox packed by us afterwards would be written twice, and outside of Apptainer's
//! user namespace the owners in it are other numbers.

pub mod apptainer;
pub mod conda;
mod error;
mod job;
mod last;
mod layer;
mod recipe;
mod target;
mod workshop;

use std::ops::ControlFlow;
use std::path::PathBuf;

pub use crate::build::apptainer::command::engine;
pub use crate::build::recipe::definition::{Flaw, RECORDED};
pub use crate::build::recipe::source::Source;
pub use error::BuildError;
pub use recipe::{Recipe, Told};

use crate::config::Origin;
use condatainer_images::system::ids::Fakeroot;
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

/// What happens meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News<'a> {
    /// A line that Apptainer says.
    Line(&'a str),
    /// The layer is being written: bytes done of bytes in all.
    Written(u64, u64),
    /// Nothing; a moment to break the work off.
    Nothing,
}

/// Is told what happens, and may break the work off.
pub type Watch<'a> = &'a mut dyn FnMut(News<'_>) -> ControlFlow<()>;

/// What was built.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Report {
    /// The layer.
    #[serde(serialize_with = "condatainer_images::system::shown::path")]
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

/// Builds the layer.
///
/// # Errors
/// See [`BuildError`]; then nothing is left at the layer's path, and what was there before is as it was.
pub fn build(request: &Request, watch: Watch<'_>) -> Result<Report, BuildError> {
    job::run(request, watch)
}
