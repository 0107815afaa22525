//! Resizing an image: larger or smaller, or so that enough is free.
//!
//! resize2fs rewrites a file system in place, and one that is cut off leaves it damaged. So it works on a copy beside the
//! image, which is checked and then takes the image's place in one step: the image is whole at every instant. Where there is
//! no room for a copy, the image itself can be given to resize2fs, at the caller's risk.

mod error;
mod job;
mod shape;
mod size;
mod tools;

use std::path::{Path, PathBuf};

pub use crate::replace::sparse::Copied;
pub use error::ResizeError;
pub use size::Wish;

use crate::image::Kind;
use crate::lock::held::{Held, Purpose};
use crate::system::stop::Stop;
use crate::tools::preen;
use job::Job;
use shape::Shape;
use size::Impossible;
use tools::Tools;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The size.
    pub wish: Wish,
    /// Changes the image itself instead of a copy, which a kill or a crash can damage.
    pub in_place: bool,
    /// Looks, and changes nothing.
    pub dry_run: bool,
}

impl Request {
    /// The safe way.
    #[must_use]
    pub fn new(wish: Wish) -> Self {
        Self { wish, in_place: false, dry_run: false }
    }
}

/// What is being done at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The image is being copied: bytes done, and bytes to be done.
    Copying(u64, u64),
    /// e2fsck looks through the file system.
    Checking,
    /// resize2fs works.
    Resizing,
    /// From now on the image itself is changed.
    InPlace,
}

/// What was done; in a dry run, what would be.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// The image.
    #[serde(serialize_with = "crate::system::shown::path")]
    pub path: PathBuf,
    /// Size of the file system before, in bytes.
    pub before_bytes: u64,
    /// Size of the file system now, in bytes. The same as before where nothing was to be done.
    pub after_bytes: u64,
    /// In bytes.
    pub block_size: u32,
    /// Blocks that an ordinary user can still write; in a dry run that shrinks or grows, about as many.
    pub blocks_free: u64,
    /// Whether the image itself was changed, and not a copy.
    pub in_place: bool,
    /// How the copy was made.
    pub copied: Copied,
    /// Whether e2fsck had to put something right first.
    pub repaired: bool,
    /// Whether the image could not be locked, because the file system that holds it has no locks.
    pub unlocked: bool,
}

/// Gives the image at `path` another size. `tell` is told each stage, and again while it goes on.
///
/// SIGINT, SIGTERM and SIGHUP are noted while this runs: a copy is given up and removed, work in place is finished.
///
/// # Errors
/// See [`ResizeError`]; all but [`ResizeError::InPlace`] leave the image as it was.
pub fn resize(path: &Path, request: &Request, tell: &mut dyn FnMut(Stage)) -> Result<Report, ResizeError> {
    let stop = Stop::listen().map_err(|e| ResizeError::io(path, e))?;
    let held =
        Held::open(path, if request.dry_run { Purpose::Look } else { Purpose::Change })?.announce("overlay resize");
    require_whole(path, &held)?;
    preen::require_end(&held).map_err(|error| ResizeError::Tool { path: path.into(), error })?;
    let repaired = held.make_clean(!request.dry_run)?;
    let before = Shape::of(&held.file).map_err(|e| ResizeError::ext(path, e))?;
    before.sb.features.check_writable().map_err(|e| ResizeError::ext(path, e))?;
    let blocks = decide(path, &held, &before, request.wish)?;
    let report = Report { repaired, ..describe(path, &held, &before, blocks) };
    if request.dry_run || report.before_bytes == report.after_bytes {
        return Ok(report);
    }
    Job { path, held: &held, wish: request.wish, before, blocks, stop: &stop }.run(request.in_place, report, tell)
}

/// A file system inside a SIF, or behind a launch line, has its end fixed by what surrounds it.
fn require_whole(path: &Path, held: &Held) -> Result<(), ResizeError> {
    let embedded = |what| Err(ResizeError::Embedded { path: path.into(), what });
    match held.image.kind {
        Kind::Sif(_) => embedded("a SIF"),
        _ if held.window.offset > 0 => embedded("with a launch line in front"),
        _ => Ok(()),
    }
}

/// How many blocks it shall have, if it can.
fn decide(path: &Path, held: &Held, before: &Shape, wish: Wish) -> Result<u64, ResizeError> {
    let sb = &before.sb;
    let blocks = size::blocks_for(wish, sb).map_err(|impossible| match impossible {
        Impossible::TooSmall(size) => ResizeError::TooSmall { path: path.into(), size },
        Impossible::TooLarge(size) => {
            ResizeError::TooLarge { path: path.into(), size, most: size::most(sb) * u64::from(sb.block_size) }
        }
    })?;
    if blocks < sb.blocks_count {
        require_room(path, held, before, blocks)?;
    }
    Ok(blocks)
}

fn require_room(path: &Path, held: &Held, before: &Shape, blocks: u64) -> Result<(), ResizeError> {
    let tools = Tools::on_image(&held.file).map_err(|e| ResizeError::io(path, e))?;
    let least = tools.least().map_err(|error| ResizeError::Tool { path: path.into(), error })?;
    if blocks >= least {
        return Ok(());
    }
    let least_mib = size::least_mib(&before.sb, least);
    if least_mib << 20 >= before.bytes() {
        return Err(ResizeError::CannotShrink { path: path.into() });
    }
    let size = blocks * u64::from(before.sb.block_size);
    Err(ResizeError::Full { path: path.into(), size, least_mib })
}

fn describe(path: &Path, held: &Held, before: &Shape, blocks: u64) -> Report {
    let sb = &before.sb;
    Report {
        path: path.into(),
        before_bytes: before.bytes(),
        after_bytes: blocks * u64::from(sb.block_size),
        block_size: sb.block_size,
        blocks_free: size::usable_after(sb, blocks),
        in_place: false,
        copied: Copied::None,
        repaired: false,
        unlocked: held.lock_unsupported().is_some(),
    }
}
