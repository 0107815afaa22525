//! Resizing an image: larger or smaller, or so that enough is free.
//!
//! resize2fs rewrites a file system in place, and one that is cut off leaves it damaged. So it works on a copy beside the
//! image, which is checked and then takes the image's place in one step: the image is whole at every instant. Where there is
//! no room for a copy, the image itself can be given to resize2fs, at the caller's risk.
//!
//! The way: `shape` reads what the file system is like, `size` tells how many blocks are wanted and whether that is possible, `apply`
//! does it on a copy or in place, with e2fsck and resize2fs as `tools`, and compares the shapes.

mod apply;
mod error;
mod report;
mod request;
mod shape;
mod size;
mod tools;

use std::path::Path;

pub use crate::sparse::Copied;
pub use error::ResizeError;
pub use report::{Report, Stage};
pub use request::Request;
pub use size::Wish;

use crate::acquire::automatic_repair;
use crate::acquire::{LockedImage, Purpose};
use crate::image::Kind;
use crate::system::stop::Stop;
use apply::Decided;
use shape::Shape;
use size::Impossible;
use tools::Tools;

/// Gives the image at `path` another size. `tell` is told each stage, and again while it goes on.
///
/// SIGINT, SIGTERM and SIGHUP are noted while this runs: a copy is given up and removed, work in place is finished.
///
/// # Errors
/// See [`ResizeError`]; all but [`ResizeError::InPlace`] leave the image as it was.
pub fn resize(path: &Path, request: &Request, tell: &mut dyn FnMut(Stage)) -> Result<Report, ResizeError> {
    let stop = Stop::listen().map_err(|e| ResizeError::io(path, e))?;
    let locked = LockedImage::open(path, if request.dry_run { Purpose::Look } else { Purpose::Change })?
        .announce("overlay resize");
    require_whole(path, &locked)?;
    automatic_repair::refuse_endless(&locked).map_err(|error| ResizeError::Tool { path: path.into(), error })?;
    let repaired = locked.make_clean(!request.dry_run)?;
    let before = Shape::of(&locked.file).map_err(|e| ResizeError::ext(path, e))?;
    before.sb.features.check_writable().map_err(|e| ResizeError::ext(path, e))?;
    let blocks = decide(path, &locked, &before, request.wish)?;
    let report = Report { repaired, ..describe(path, &locked, &before, blocks) };
    if request.dry_run || report.before_bytes == report.after_bytes {
        return Ok(report);
    }
    Decided { path, locked: &locked, wish: request.wish, before, blocks, stop: &stop }.apply(
        request.in_place,
        report,
        tell,
    )
}

/// A file system inside a SIF, or behind a launch line, has its end fixed by what surrounds it.
fn require_whole(path: &Path, locked: &LockedImage) -> Result<(), ResizeError> {
    let embedded = |what| Err(ResizeError::Embedded { path: path.into(), what });
    match locked.image.kind {
        Kind::Sif(_) => embedded("a SIF"),
        _ if locked.window.offset > 0 => embedded("with a launch line in front"),
        _ => Ok(()),
    }
}

/// How many blocks it shall have, if it can.
fn decide(path: &Path, locked: &LockedImage, before: &Shape, wish: Wish) -> Result<u64, ResizeError> {
    let sb = &before.sb;
    let blocks = size::blocks_for(wish, sb).map_err(|impossible| match impossible {
        Impossible::TooSmall(size) => ResizeError::TooSmall { path: path.into(), size },
        Impossible::TooLarge(size) => {
            ResizeError::TooLarge { path: path.into(), size, most: size::most(sb) * u64::from(sb.block_size) }
        }
    })?;
    if blocks < sb.blocks_count {
        require_room(path, locked, before, blocks)?;
    }
    Ok(blocks)
}

fn require_room(path: &Path, locked: &LockedImage, before: &Shape, blocks: u64) -> Result<(), ResizeError> {
    let tools = Tools::on_image(locked).map_err(|e| ResizeError::io(path, e))?;
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

fn describe(path: &Path, locked: &LockedImage, before: &Shape, blocks: u64) -> Report {
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
        unlocked: locked.lock_unsupported().is_some(),
    }
}
