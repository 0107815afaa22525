//! Directories that a plan depends on: where the caller is, what the host has to show, and the way to the programs in an image.

use std::path::PathBuf;

use serde::Serialize;

use crate::request::bind::Bind;
use condatainer_formats::ext::Owner;

/// From a workspace image's `upper` down to its programs.
pub(crate) const PROGRAM_PATH: [&str; 3] = ["ext3", "env", "bin"];

/// Where the caller is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WorkingDirectory {
    /// The path without links.
    #[serde(serialize_with = "condatainer_images::system::json_paths::path")]
    pub path: PathBuf,
    /// `$PWD`, where that is another path to it.
    #[serde(serialize_with = "condatainer_images::system::json_paths::maybe")]
    pub logical: Option<PathBuf>,
    /// Device and inode.
    pub identity: (u64, u64),
    /// Why nobody can start there, if that is so.
    pub problem: Option<String>,
}

/// What there is to be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HostDirectories {
    /// Directories that are to be seen in every container.
    pub offers: Vec<Offer>,
    /// What the engine shows by itself, the sources without links.
    pub shown: Vec<Bind>,
    /// Where it mounts directories that it makes for the start.
    pub made: Vec<PathBuf>,
    /// The home directory that it shows, in the same way.
    pub home: Option<Bind>,
    /// Whether it shows the working directory.
    pub shows_working_directory: bool,
    /// Whether it mounts something more, of which it is not known where.
    pub shows_more: bool,
}

/// A directory that exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Offer {
    /// As it is written.
    #[serde(serialize_with = "condatainer_images::system::json_paths::path")]
    pub written: PathBuf,
    /// Without links.
    #[serde(serialize_with = "condatainer_images::system::json_paths::path")]
    pub path: PathBuf,
}

/// A directory in an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageDirectory {
    /// Its path in the container.
    pub path: String,
    /// Owner, group and permissions.
    pub owner: Owner,
    /// Whether the caller is in the group.
    pub in_group: bool,
}
