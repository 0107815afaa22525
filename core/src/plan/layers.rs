//! The mode of each layer, and whether the layer can be used in it. Pure.

use std::path::Path;

use crate::machine::engine::Flavour;
use crate::machine::facts::{BaseFacts, ImageFacts, Kind, LayerFacts};
use crate::plan::refusal::Refusal;
use crate::request::Request;
use crate::request::layer::Mode;
use condatainer_images::acquire::usage::Usage;
use condatainer_images::image::state::State;

/// Gives every layer its mode and checks what the images alone decide: this much is known wherever a job is submitted too.
///
/// # Errors
/// The first thing that cannot work.
pub fn check<'a>(
    request: &Request,
    base: &BaseFacts,
    layers: &'a [LayerFacts],
    job: Option<&str>,
) -> Result<Vec<Moded<'a>>, Refusal> {
    if let Some(reason) = base.distrust.clone() {
        return Err(Refusal::Distrusted { reason });
    }
    if base.kind == Kind::Ext {
        return Err(Refusal::ExtBase { path: base.path.clone(), origin: base.origin.clone() });
    }
    if let Some(path) = request.workdir.clone().filter(|path| path.is_relative()) {
        return Err(Refusal::RelativeWorkdir { path });
    }
    let layers = with_modes(request, layers)?;
    one_writer(&layers, request.tmp)?;
    written_once(&layers)?;
    for (layer, mode) in &layers {
        check_layer(layer, *mode, job)?;
    }
    Ok(layers)
}

/// Whether what is written goes to a place that is gone at the end.
#[must_use]
pub(crate) fn is_temporary(request: &Request, layers: &[Moded<'_>]) -> bool {
    request.tmp || layers.iter().any(|(_, mode)| *mode == Mode::Tmp)
}

/// A layer with the mode it gets: its own, else `:rw` for the last image under `-w`, else `:ro`.
pub type Moded<'a> = (&'a LayerFacts, Mode);

fn with_modes<'a>(request: &Request, layers: &'a [LayerFacts]) -> Result<Vec<Moded<'a>>, Refusal> {
    let written = layers.iter().rposition(|l| l.mode.is_none() && l.kind != Kind::Squashfs);
    if request.write && written.is_none() && !layers.iter().any(|l| l.mode == Some(Mode::Rw)) {
        return Err(Refusal::NothingToWrite);
    }
    let mode = |(at, layer): (usize, &'a LayerFacts)| {
        let default = if request.write && Some(at) == written { Mode::Rw } else { Mode::Ro };
        (layer, layer.mode.unwrap_or(default))
    };
    Ok(layers.iter().enumerate().map(mode).collect())
}

fn one_writer(layers: &[Moded<'_>], tmp: bool) -> Result<(), Refusal> {
    let with =
        |wanted: Mode| layers.iter().filter(move |(_, mode)| *mode == wanted).map(|(layer, _)| layer.path.clone());
    let mut writers = with(Mode::Rw);
    match (writers.next(), writers.next(), with(Mode::Tmp).next()) {
        (Some(first), Some(second), _) => Err(Refusal::TwoWriters { first, second }),
        (Some(path), None, _) if tmp => Err(Refusal::WriterAndScratch { path }),
        (Some(rw), None, Some(tmp)) => Err(Refusal::WriterAndTmp { tmp, rw }),
        _ => Ok(()),
    }
}

/// The engine would find it locked, by itself.
fn written_once(layers: &[Moded<'_>]) -> Result<(), Refusal> {
    let Some(at) = layers.iter().position(|(_, mode)| *mode == Mode::Rw) else { return Ok(()) };
    let same = |other: usize| other != at && layers[other].0.identity == layers[at].0.identity;
    let Some(other) = (0..layers.len()).find(|other| same(*other)) else { return Ok(()) };
    let path = |at: usize| layers[at].0.path.clone();
    Err(Refusal::Twice { first: path(at.min(other)), second: path(at.max(other)) })
}

fn check_layer(layer: &LayerFacts, mode: Mode, job: Option<&str>) -> Result<(), Refusal> {
    let path = || layer.path.clone();
    let beside = layer.module.problem.as_ref().filter(|_| layer.module.is_distrusted);
    if let Some(reason) = layer.distrust.as_ref().or(beside).cloned() {
        return Err(Refusal::Distrusted { reason });
    }
    match (layer.kind, mode) {
        (Kind::Squashfs, Mode::Rw | Mode::Tmp) => return Err(Refusal::SquashfsIsReadOnly { path: path(), mode }),
        (Kind::Sif, _) if layer.image.is_none() => return Err(Refusal::SifWithoutOverlay { path: path() }),
        (_, Mode::Rw) if !layer.writable => return Err(Refusal::NotWritable { path: path() }),
        _ => {}
    }
    layer.image.as_ref().map_or(Ok(()), |image| check_image(layer, image, mode, job))
}

fn check_image(layer: &LayerFacts, image: &ImageFacts, mode: Mode, job: Option<&str>) -> Result<(), Refusal> {
    let path = layer.path.clone();
    if image.upper.is_none() {
        return Err(Refusal::NoUpper { path });
    }
    if let Usage::Writer { holder: Some(holder), .. } = &image.usage
        && job.is_some()
        && holder.is_batch_of(job)
    {
        return Err(Refusal::HeldByOwnBatch { path });
    }
    if let Some(refusal) = in_use(&path, mode, &image.usage) {
        return Err(if image.held_around { Refusal::HeldAround { path } } else { refusal });
    }
    match (image.state, mode) {
        (State::Errors, _) => Err(Refusal::Damaged { path }),
        (State::Dirty, Mode::Rw) if !needs_repair(layer, mode) => Err(Refusal::PerhapsInUse { path }),
        (State::Clean | State::Dirty | State::NeedsRecovery, _) => Ok(()),
    }
}

/// Checks what the engine can mount. We read every ext, whatever its path, and replay a journal in memory.
///
/// # Errors
/// The first layer that it cannot.
pub fn check_for_engine(layers: &[Moded<'_>]) -> Result<(), Refusal> {
    layers.iter().try_for_each(|(layer, mode)| {
        let path = layer.path.clone();
        let image = layer.image.as_ref();
        if path.to_string_lossy().contains(':') {
            return Err(Refusal::ColonInPath { path, engine: Flavour::Apptainer });
        }
        if let Some(reason) = image.and_then(|image| image.refused_by_engine.clone()) {
            return Err(Refusal::EngineRefuses { path, reason, engine: Flavour::Apptainer });
        }
        let is_unreplayed = image.is_some_and(|image| image.state == State::NeedsRecovery);
        if is_unreplayed && !needs_repair(layer, *mode) { Err(Refusal::NeedsRecovery { path }) } else { Ok(()) }
    })
}

/// The refusal that an image gets which others use in this way, if they are in the way.
pub(crate) fn in_use(path: &Path, mode: Mode, usage: &Usage) -> Option<Refusal> {
    let path = path.into();
    match (usage, mode) {
        (Usage::Writer { holder, seen }, _) => {
            Some(Refusal::HasWriter { path, mode, holder: holder.clone().map(Box::new), seen: seen.clone() })
        }
        (Usage::Readers { seen }, Mode::Rw) => Some(Refusal::HasReaders { path, seen: seen.clone() }),
        _ => None,
    }
}

/// fuse2fs would be killed at its first write behind the limit, and the engine waits for it in vain.
pub(crate) fn within_file_limit(limit: Option<u64>, writer: Option<&LayerFacts>) -> Result<(), Refusal> {
    let (Some(limit), Some(layer)) = (limit, writer) else { return Ok(()) };
    let size = layer.image.as_ref().map_or(0, |image| image.end);
    if size <= limit { Ok(()) } else { Err(Refusal::FileLimit { path: layer.path.clone(), size, limit }) }
}

/// A killed writer left it, and nobody uses it. A reader repairs it too if he may: fuse2fs marks what it has mounted as clean
/// when it ends, even read-only, and the next writer would believe that. Only where locks tell that nobody has the image: without
/// them its writer may be at work on another node, and a journal may belong to a kernel that has it mounted.
pub(crate) fn needs_repair(layer: &LayerFacts, mode: Mode) -> bool {
    let left_behind = |image: &ImageFacts| match image.state {
        State::Dirty | State::NeedsRecovery => image.usage == Usage::Free,
        State::Clean | State::Errors => false,
    };
    (mode == Mode::Rw || layer.writable) && layer.image.as_ref().is_some_and(left_behind)
}
