//! The stack as OverlayFS gets it: the order of the layers, and which of the two overlays reads it. Pure.

use crate::machine::facts::{BaseFacts, Facts, Kind, LayerFacts, Whiteouts};
use crate::plan::decision::Overlay;
use crate::plan::layers::Moded;
use crate::plan::refusal::Refusal;
use crate::request::layer::Mode;

/// The kernel's overlay, which Apptainer takes for stacks without a writable image, does not know the whiteouts of
/// fuse-overlayfs: what a writer deleted would show again. It also cannot remove what lies in a lower layer (EIO), which a
/// node-local upper directory would be there for.
pub(crate) fn needs_overlay_driver(base: &BaseFacts, layers: &[Moded<'_>]) -> bool {
    let written_by_fuse = layers.iter().any(|(layer, mode)| *mode == Mode::Rw && layer.image.is_some());
    let needs_fuse = |(layer, mode): &Moded<'_>| *mode == Mode::Tmp || shows_deleted(layer, *mode);
    !written_by_fuse && (base.shows_deleted || layers.iter().any(needs_fuse))
}

/// Whether this layer, read by the kernel's overlay, would or might show what is deleted.
pub(crate) fn shows_deleted(layer: &LayerFacts, mode: Mode) -> bool {
    let honoured = || matches!(layer.image.as_ref().map(|image| image.whiteouts), Some(Whiteouts::Honoured(_)));
    mode != Mode::Rw && layer.kind != Kind::Squashfs && !honoured()
}

/// Squashfs in the order given, images on top of them, the written one on top of all.
pub(crate) fn stack(layers: &[Moded<'_>], facts: &Facts, scratch_image: bool) -> Result<Vec<Overlay>, Refusal> {
    let read_only = |want_squashfs: bool| {
        layers
            .iter()
            .filter(move |(layer, mode)| *mode != Mode::Rw && (layer.kind == Kind::Squashfs) == want_squashfs)
            .map(|(layer, _)| Overlay::Ro(layer.path.clone()))
    };
    let mut stack: Vec<Overlay> = read_only(true).chain(read_only(false)).collect();
    if layers.iter().any(|(_, mode)| *mode == Mode::Tmp) {
        if let Some((reason, cure)) = facts.tmpdir_problem.clone() {
            return Err(Refusal::NoTmpdir { path: facts.tmpdir.clone(), reason, cure });
        }
        let scratch = if scratch_image { Overlay::ScratchImage } else { Overlay::Scratch };
        stack.push(scratch(facts.tmpdir.clone()));
    }
    stack.extend(layers.iter().filter(|(_, m)| *m == Mode::Rw).map(|(l, _)| Overlay::Rw(l.path.clone())));
    Ok(stack)
}
