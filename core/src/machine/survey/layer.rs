//! The layers: what each one is, what it holds, and who uses it.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access, getegid, getgroups};

use super::error::SurveyError;
use super::policy::{self, Role};
use crate::config::Config;
use crate::machine::directories::{ImageDirectory, PROGRAM_PATH};
use crate::machine::facts::{ImageFacts, Kind, LayerFacts, Whiteouts};
use crate::request::layer::Layer;
use condatainer_formats::ext;
use condatainer_images::acquire::usage::{Usage, usage};
use condatainer_images::image::state::{State, state};
use condatainer_images::image::{self, Image, ImageError, Opened};
use condatainer_images::lock::{self, Access, Availability};
use condatainer_images::module::Module;
use condatainer_images::trust;
use condatainer_images::verbs::create;
use condatainer_writer::unwritten;

/// A disk with less than this, in bytes, is nearly full; sparse images of ten times as much are usual.
const LITTLE: u64 = 1 << 30;

/// Looks at the layers of a container that starts now.
///
/// # Errors
/// The first one that is no image.
pub(super) fn layers_at_start(
    layers: &[Layer],
    config: &Config,
    held_around: &[PathBuf],
) -> Result<Vec<LayerFacts>, SurveyError> {
    layers
        .iter()
        .map(|layer| at_start(layer, config, held_around).map_err(|error| of_site(layer, config, error)))
        .collect()
}

/// Nobody has typed the name of a layer that everybody gets.
fn of_site(layer: &Layer, config: &Config, error: ImageError) -> SurveyError {
    match config.site_file().filter(|_| config.policy.is_everybodys(&layer.path)) {
        Some(file) => SurveyError::Everybodys { error, file: file.into() },
        None => SurveyError::Image(error),
    }
}

fn at_start(layer: &Layer, config: &Config, held_around: &[PathBuf]) -> Result<LayerFacts, ImageError> {
    let opened = image::open(&layer.path)?;
    let probe = opened.probe()?;
    let mut facts = lasting(layer, config, &opened, probe.as_ref(), Module::read);
    if let (Some(image), Some(probe)) = (&mut facts.image, probe) {
        image.state = state(probe.state);
        image.usage = usage(&opened);
        image.held_around = is_among(held_around, &layer.path);
        image.short_of_space = short_of_space(&opened.image, &opened.file);
        image.lack = probe.room.lack();
    }
    Ok(facts)
}

fn is_among(paths: &[PathBuf], path: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.into());
    !paths.is_empty() && paths.iter().any(|other| real(other) == real(path))
}

/// Looks at a layer of a request that is carried out later, perhaps elsewhere: locks and states may change until then. It is a way
/// of its own, on which no squashfs is read: the plugin takes no other, and need not carry what decompresses them.
///
/// # Errors
/// It is no image.
pub(crate) fn layer_at_submission(layer: &Layer, config: &Config) -> Result<LayerFacts, SurveyError> {
    let opened = image::open(&layer.path).map_err(|error| of_site(layer, config, error))?;
    Ok(lasting(layer, config, &opened, opened.probe()?.as_ref(), Module::believed))
}

/// What does not change by itself.
fn lasting(
    layer: &Layer,
    config: &Config,
    opened: &Opened,
    probe: Option<&ext::Probe>,
    module: fn(&Path, &Opened) -> Module,
) -> LayerFacts {
    LayerFacts {
        path: layer.path.clone(),
        mode: layer.mode,
        kind: kind(&opened.image.kind),
        identity: (opened.image.dev, opened.image.ino),
        distrust: Some(&opened.image)
            .filter(|_| layer.named)
            .and_then(trust::stranger)
            .or_else(|| policy::forbids(config, Role::Layer, opened)),
        writable: access(&layer.path, AccessFlags::W_OK).is_ok(),
        image: probe.map(|probe| ImageFacts {
            upper: probe.upper.owner().map(|owner| (owner.uid, owner.gid)),
            program_path: program_path(opened, probe),
            state: State::Clean,
            refused_by_engine: probe.apptainer.clone().err(),
            unwritten: unwritten(probe.features, probe.block_size, probe.inode_size),
            usage: Usage::Free,
            held_around: false,
            short_of_space: None,
            lack: None,
            end: opened.image.ext_window().map_or(0, |window| window.offset.saturating_add(window.size)),
            whiteouts: Whiteouts::Unknown,
        }),
        module: module(&layer.path, opened),
    }
}

/// What is free on the image's disk, where that is little and the image is sparse enough to take more.
pub(crate) fn short_of_space(image: &Image, file: &File) -> Option<u64> {
    let taken = file.metadata().ok()?.blocks().saturating_mul(512);
    let can_take = image.content.size.saturating_sub(taken);
    let free = create::free_space(image.path.parent()?)?;
    (free < can_take.min(LITTLE)).then_some(free)
}

/// The kind of an image, in a word.
#[must_use]
pub fn kind(kind: &image::Kind) -> Kind {
    match kind {
        image::Kind::Ext(_) => Kind::Ext,
        image::Kind::Squashfs => Kind::Squashfs,
        image::Kind::Sif(_) => Kind::Sif,
        image::Kind::Directory => Kind::Directory,
    }
}

/// What is on the way to an image's programs. What cannot be read is found by others.
fn program_path(opened: &Opened, probe: &ext::Probe) -> Vec<ImageDirectory> {
    let (Some(upper), Some(window)) = (probe.upper.owner(), opened.image.ext_window()) else { return Vec::new() };
    let below = ext::owners_below_upper(&opened.file, window, &PROGRAM_PATH).unwrap_or_default();
    let owners = std::iter::once(upper).chain(below).enumerate();
    let groups = getgroups().unwrap_or_default();
    let is_in = |gid: u32| getegid().as_raw() == gid || groups.iter().any(|group| group.as_raw() == gid);
    owners
        .map(|(depth, owner)| ImageDirectory {
            path: format!("/{}", PROGRAM_PATH[..depth].join("/")),
            in_group: is_in(owner.gid),
            owner,
        })
        .collect()
}

/// Whether a lock is held that excludes this access, or the kernel still has the image mounted: SingularityCE's loop devices go a
/// moment after their lock.
pub(crate) fn is_taken(path: &Path, access: Access) -> bool {
    let Ok(opened) = image::open(path) else { return false };
    let Some(window) = opened.image.ext_window() else { return false };
    let attached = lock::loops(opened.image.dev, opened.image.ino);
    if attached.iter().any(|device| device.touches(window) && (access == Access::Write || !device.read_only)) {
        return true;
    }
    matches!(lock::query(&opened.file, window, access), Ok(Availability::Held(_)))
}
