//! Check of an image: what e2fsck finds, what it does not know, and the repairs that lose nothing.
//!
//! Most is about the ext file system in it (`ext`); a squashfs is read from end to end (`squashfs`), and of a directory, `upper` and
//! `work` are checked (`directory`). An image is looked at under Apptainer's lock for reading, and changed under that for writing. Repairs that could lose data are
//! made only when they are asked for, on a copy, and the original is kept.

mod directory;
mod error;
mod ext;
mod finding;
mod report;
mod request;
mod squashfs;

use std::path::Path;

pub use error::CheckError;
pub use finding::{Code, Finding, Severity};
pub use report::Report;
pub use request::{Fix, Request};

use crate::image::{self, Kind, Opened, PartitionFs};

/// Checks the image at `path`. `progress` is told percent of the step under way.
///
/// # Errors
/// See [`CheckError`]; an image that cannot even be looked at. What is wrong with one that can is in the report.
pub fn check(path: &Path, request: &Request, progress: &mut dyn FnMut(u64, u64)) -> Result<Report, CheckError> {
    let opened = image::open(path)?;
    let kind = opened.image.kind.name();
    match &opened.image.kind {
        _ if opened.image.ext_window().is_some() => ext::check(path, request, progress),
        Kind::Directory => Ok(Report::plain(path, kind, directory::findings(path))),
        _ => packed(path, &opened).map(|findings| Report::plain(path, kind, findings)),
    }
}

/// A squashfs, or a SIF whose system is one.
fn packed(path: &Path, opened: &Opened) -> Result<Vec<Finding>, CheckError> {
    let window = match &opened.image.kind {
        Kind::Sif(sif) => sif.primary().filter(|system| system.fs == PartitionFs::Squashfs).map(|system| system.window),
        _ => Some(opened.image.content),
    };
    window.map_or(Ok(Vec::new()), |window| squashfs::findings(path, &opened.file, window))
}
