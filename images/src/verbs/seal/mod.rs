//! Sealing: what was written to an image becomes a read-only squashfs layer that shows the same on the same base.
//!
//! The image is read natively, without a mount, and handed to mksquashfs as a tar stream. Whiteouts of both kinds become what
//! every stack understands, devices 0/0. The same content gives the same bytes.

mod advice;
mod archive;
mod below;
mod count;
mod error;
mod inside;
mod job;
mod peace;
mod sidecar;
mod sparse;
mod target;
mod walk;

use std::ops::ControlFlow;
use std::path::PathBuf;

pub use crate::tools::mksquashfs::{Compression, ToolError};
pub use advice::advice;
pub use error::SealError;

use crate::tools::mksquashfs::Mksquashfs;
use job::Job;
use peace::Peace;
use target::Target;

/// What is to be sealed, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The image.
    pub image: PathBuf,
    /// Where the layer goes.
    pub layer: PathBuf,
    /// Replaces a layer that is there.
    pub force: bool,
    /// Gives everything in the layer to root.
    pub root_owned: bool,
    /// How it is compressed.
    pub compression: Compression,
    /// How hard; mksquashfs's own choice otherwise.
    pub level: Option<u32>,
    /// Bytes that are compressed together: a power of two from 4 KiB to 1 MiB.
    pub block_size: u32,
    /// Processors to be used; all otherwise. The layer is the same.
    pub processors: Option<u32>,
    /// No time in the layer is later than this, in seconds since 1970 (`SOURCE_DATE_EPOCH`).
    pub latest: Option<u32>,
    /// The base that the image is used on. Needed only where a directory hides all of what lies below it.
    pub base: Option<PathBuf>,
    /// The layers between base and image, lowest first.
    pub layers: Vec<PathBuf>,
}

impl Request {
    /// `image` to `layer`, in the usual way.
    #[must_use]
    pub fn new(image: PathBuf, layer: PathBuf) -> Self {
        Self {
            image,
            layer,
            force: false,
            root_owned: false,
            compression: Compression::default(),
            level: None,
            block_size: 128 << 10,
            processors: None,
            latest: None,
            base: None,
            layers: Vec::new(),
        }
    }

    fn check(&self) -> Result<(), SealError> {
        let range = self.compression.levels();
        if let Some(level) = self.level
            && !range.as_ref().is_some_and(|range| range.contains(&level))
        {
            let range = range.map(|range| (*range.start(), *range.end()));
            return Err(SealError::Level { level, compression: self.compression.name(), range });
        }
        let sound = self.block_size.is_power_of_two() && (4 << 10..=1 << 20).contains(&self.block_size);
        if sound { Ok(()) } else { Err(SealError::BlockSize { size: self.block_size }) }
    }
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// The image.
    #[serde(serialize_with = "crate::system::json_paths::path")]
    pub image: PathBuf,
    /// The layer.
    #[serde(serialize_with = "crate::system::json_paths::path")]
    pub layer: PathBuf,
    /// The file of variables beside it, where there is something to say.
    #[serde(serialize_with = "crate::system::json_paths::maybe")]
    pub environment: Option<PathBuf>,
    /// Size of the layer, in bytes.
    pub size_bytes: u64,
    /// Content that was read from the image, in bytes.
    pub content_bytes: u64,
    /// Inodes in the layer.
    pub inodes: u64,
    /// Regular files in the layer; more names of one count once.
    pub files: u64,
    /// Directories in the layer, its root included.
    pub directories: u64,
    /// Single names that the layer hides because the image does.
    pub whiteouts: u64,
    /// Directories that hid everything below.
    pub opaque_translated: u64,
    /// Single names that the layer hides in their stead.
    pub opaque_whiteouts: u64,
    /// Inodes whose access control list is lost, since squashfs has no place for it.
    pub acls_dropped: u64,
    /// Other extended attributes that are lost.
    pub xattrs_dropped: u64,
    /// Sockets that were left out.
    pub sockets_skipped: u64,
    /// Whether the root directory of the layer has the owner that it has in the image; mksquashfs before 4.6 may not manage.
    pub root_owner_kept: bool,
    /// Whether e2fsck cleaned the image first.
    pub repaired: bool,
    /// Whether the image is not marked as clean and was read as it is, because others read it too or it cannot be written.
    pub unclean: bool,
    /// Whether the image could not be locked, because the file system that holds it has no locks.
    pub unlocked: bool,
}

/// Makes the layer. `watch` is told bytes read and bytes to be read, and may break the work off.
///
/// # Errors
/// See [`SealError`]; then nothing is left at the layer's path, and what was there before is as it was.
pub fn seal(request: &Request, watch: &mut dyn FnMut(u64, u64) -> ControlFlow<()>) -> Result<Report, SealError> {
    request.check()?;
    let target = Target::new(&request.layer, request.force)?;
    let tool = Mksquashfs::find().map_err(|error| SealError::tool(&request.layer, error))?;
    let peace = Peace::with(&request.image)?;
    target.refuse_image(&peace.locked.image)?;
    Job { request, target: &target, tool: &tool, peace: &peace }.run(watch)
}
