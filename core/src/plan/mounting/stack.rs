//! The stack as OverlayFS gets it: the order of the layers, and which of the two overlays reads it. Pure.

use crate::config::Scratch;
use crate::machine::facts::{BaseFacts, Facts, Kind, LayerFacts, Whiteouts};
use crate::plan::decision::Overlay;
use crate::plan::layers::Moded;
use crate::plan::mounting::{Kept, Mounting};
use crate::plan::refusal::Refusal;
use crate::request::layer::Mode;

/// The kernel's overlay, which Apptainer takes for stacks without a writable image, does not know the whiteouts of
/// fuse-overlayfs: what a writer deleted would show again. It also cannot remove what lies in a lower layer (EIO), which a
/// node-local upper directory would be there for.
pub(crate) fn needs_overlay_driver(base: &BaseFacts, layers: &[Moded<'_>], tmp: bool) -> bool {
    let written_by_fuse = layers.iter().any(|(layer, mode)| *mode == Mode::Rw && layer.image.is_some());
    let shows = |(layer, mode): &Moded<'_>| shows_deleted(layer, *mode);
    !written_by_fuse && (tmp || base.shows_deleted || layers.iter().any(shows))
}

/// Whether this layer, read by the kernel's overlay, would or might show what is deleted.
pub(crate) fn shows_deleted(layer: &LayerFacts, mode: Mode) -> bool {
    let honoured = || matches!(layer.image.as_ref().map(|image| image.whiteouts), Some(Whiteouts::Honoured(_)));
    mode != Mode::Rw && layer.kind != Kind::Squashfs && !honoured()
}

/// Squashfs in the order given, images on top of them, what is written to on top of all.
pub(crate) fn stack(layers: &[Moded<'_>], scratch: Option<Overlay>) -> Vec<Overlay> {
    let read_only = |want_squashfs: bool| {
        layers
            .iter()
            .filter(move |(layer, mode)| *mode != Mode::Rw && (layer.kind == Kind::Squashfs) == want_squashfs)
            .map(|(layer, _)| Overlay::Ro(layer.path.clone()))
    };
    let written = layers.iter().filter(|(_, mode)| *mode == Mode::Rw).map(|(layer, _)| Overlay::Rw(layer.path.clone()));
    read_only(true).chain(read_only(false)).chain(scratch).chain(written).collect()
}

/// What takes the writes of one run: memory where we mount, a directory, or an image in that.
///
/// # Errors
/// There is no place for it.
pub(crate) fn scratch(facts: &Facts, mounts: &Mounting, in_image: bool) -> Result<Overlay, Refusal> {
    match (mounts.own().and_then(|own| own.scratch.as_ref()), mounts) {
        (Some(Kept::Memory { memory }), _) => return Ok(Overlay::Memory(*memory)),
        (None, Mounting::Engine { why }) if facts.scratch.asked != Scratch::Disk => {
            return Err(Refusal::NotInMemory { why: why.clone(), origin: facts.scratch.origin.clone() });
        }
        _ => {}
    }
    match facts.tmpdir_problem.clone() {
        Some((reason, cure)) => Err(Refusal::NoTmpdir { path: facts.tmpdir.clone(), reason, cure }),
        None if in_image => Ok(Overlay::ScratchImage(facts.tmpdir.clone())),
        None => Ok(Overlay::Scratch(facts.tmpdir.clone())),
    }
}
