//! What a path is, in full: the report of `overlay info`, for every kind of image.
//!
//! The field names are a contract (`--json`); what a kind does not have is left out.

mod directory;
mod ext;
mod top;

use std::path::{Path, PathBuf};

use serde::Serialize;

pub use directory::DirectoryInfo;
pub use ext::{ExtInfo, WhiteoutCounts};
pub use top::Top;

use crate::image::{self, ImageError, Kind, Opened, Partition, PartitionFs, Role, SquashfsInfo};
use crate::module::Module;

/// The report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Info {
    /// As given.
    #[serde(serialize_with = "crate::system::json_paths::path")]
    pub path: PathBuf,
    /// `ext2`, `ext3`, `ext4`, `squashfs`, `sif` or `directory`.
    pub kind: &'static str,
    /// Length of the file.
    pub size_bytes: u64,
    /// Space taken on disk.
    pub allocated_bytes: u64,
    /// What the kind has beyond that.
    #[serde(flatten)]
    pub content: Content,
    /// A SIF's partitions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<PartitionInfo>,
    /// What it brings to the environment of a command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<Module>,
}

/// What only some kinds have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Content {
    /// An ext image, or the ext overlay in a SIF.
    Ext(Box<ExtInfo>),
    /// A squashfs.
    Squashfs(SquashfsInfo),
    /// A directory.
    Directory(DirectoryInfo),
    /// A SIF without an overlay that can be written to.
    Nothing {},
}

/// A partition of a SIF.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartitionInfo {
    /// Its number, as `apptainer sif list` shows it.
    pub id: u32,
    /// What it contains.
    pub kind: PartitionFs,
    /// What it is for.
    pub role: Role,
    /// Where it begins in the file.
    pub offset: u64,
    /// How long it is.
    pub size_bytes: u64,
    /// Its name; may be empty.
    pub name: String,
}

impl PartitionInfo {
    fn of(partition: &Partition) -> Self {
        Self {
            id: partition.id,
            kind: partition.fs,
            role: partition.role,
            offset: partition.window.offset,
            size_bytes: partition.window.size,
            name: partition.name.clone(),
        }
    }
}

/// Looks at `path`; with `scan` also for whiteouts, which takes a look at every directory of an ext image.
///
/// # Errors
/// What it is instead of an image, or why it cannot be read.
pub fn info(path: &Path, scan: bool) -> Result<Info, ImageError> {
    let opened = image::open(path)?;
    let (content, partitions) = (content(&opened, scan)?, partitions(&opened));
    let module = Module::read(path, &opened);
    let image = opened.image;
    Ok(Info {
        path: image.path,
        kind: image.kind.name(),
        size_bytes: image.size_bytes,
        allocated_bytes: image.allocated_bytes,
        content,
        partitions,
        module: (module != Module::default()).then_some(module),
    })
}

fn content(opened: &Opened, scan: bool) -> Result<Content, ImageError> {
    if let Some(ext) = ExtInfo::of(opened, scan)? {
        return Ok(Content::Ext(Box::new(ext)));
    }
    Ok(match &opened.image.kind {
        Kind::Squashfs => Content::Squashfs(image::squashfs_info(opened)?),
        Kind::Directory => Content::Directory(DirectoryInfo::of(&opened.image.path)?),
        Kind::Ext(_) | Kind::Sif(_) => Content::Nothing {},
    })
}

fn partitions(opened: &Opened) -> Vec<PartitionInfo> {
    match &opened.image.kind {
        Kind::Sif(sif) => sif.partitions.iter().map(PartitionInfo::of).collect(),
        _ => Vec::new(),
    }
}
