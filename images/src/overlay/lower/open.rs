//! From a path to the layers that it means.

use std::fs::File;
use std::path::Path;

use super::directory::LowerDirectory;
use super::error::LowerError;
use super::ext::{LowerExt, Start};
use super::layer::Layer;
use super::squashfs::LowerSquashfs;
use crate::image::{self, ImageError, Kind, Opened, Partition, PartitionFs, Sif};

/// What part of an image is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The system to start from, with the overlays that a SIF brings along.
    Base,
    /// As `Base`, but without the overlay of a SIF that can be written to: that is the image in question.
    BaseOfItself,
    /// What a container gets from it on top of a base.
    Layer,
}

/// Adds the layers that `path` means, lowest first.
pub(super) fn layers(path: &Path, wanted: Wanted, all: &mut Vec<Box<dyn Layer>>) -> Result<(), LowerError> {
    let Opened { image, file } = image::open(path)?;
    match &image.kind {
        Kind::Squashfs => all.push(Box::new(LowerSquashfs::open(path, file, image.content)?)),
        Kind::Ext(_) => all.push(Box::new(LowerExt::open(path, file, image.content, Start::Upper)?)),
        Kind::Directory if wanted == Wanted::Base => all.push(Box::new(LowerDirectory::new(path, file))),
        // As Apptainer takes it: an overlay's directory holds `upper` and `work`.
        Kind::Directory => all.push(Box::new(LowerDirectory::new(path, file).content()?)),
        Kind::Sif(sif) => {
            for (partition, start) in parts(path, sif, wanted)? {
                all.push(partition_layer(path, &file, partition, start)?);
            }
        }
    }
    Ok(())
}

/// The partitions that count.
fn parts<'a>(path: &Path, sif: &'a Sif, wanted: Wanted) -> Result<Vec<(&'a Partition, Start)>, LowerError> {
    let own = sif.writable_overlay().filter(|_| wanted == Wanted::BaseOfItself).map(|overlay| overlay.id);
    let overlays = sif.overlays().filter(|overlay| Some(overlay.id) != own).map(|overlay| (overlay, Start::Upper));
    let primary = sif.primary().map(|partition| (partition, Start::Root));
    match (wanted, primary) {
        (Wanted::Layer, _) if sif.overlays().next().is_none() => {
            Err(unusable(path, "this SIF has no overlay partition, so it cannot be a layer: use it as the base (-b)"))
        }
        (Wanted::Layer, _) => Ok(overlays.collect()),
        (_, Some(primary)) => Ok([primary].into_iter().chain(overlays).collect()),
        (_, None) => Err(unusable(path, "is a SIF without a system to start from")),
    }
}

fn partition_layer(path: &Path, file: &File, part: &Partition, start: Start) -> Result<Box<dyn Layer>, LowerError> {
    let file = file.try_clone().map_err(|error| LowerError::Image(ImageError::io(path, error)))?;
    match part.fs {
        PartitionFs::Squashfs => Ok(Box::new(LowerSquashfs::open(path, file, part.window)?)),
        PartitionFs::Ext3 => Ok(Box::new(LowerExt::open(path, file, part.window, start)?)),
        PartitionFs::Encrypted => Err(unusable(path, "is encrypted, so what lies in it cannot be told")),
        PartitionFs::Raw | PartitionFs::Unknown => {
            Err(unusable(path, "has a system of a kind that condatainer does not know"))
        }
    }
}

fn unusable(path: &Path, what: &str) -> LowerError {
    LowerError::Unusable { path: path.into(), what: what.into() }
}
