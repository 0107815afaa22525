//! What SingularityCE can do with a stack, and what is refused there with the way out. Pure.
//!
//! It has no FUSE overlay. Image layers (squashfs, ext3) it mounts by the kernel, which only its setuid starter may, and with them
//! neither directories nor fakeroot: under fakeroot it leaves image layers out without a word. Directories it stacks in a user
//! namespace only. So each start takes one of two ways, and what needs both is refused (measured with 4.5.1).

use crate::machine::engine::Engine;
use crate::machine::facts::{BaseFacts, Facts, Kind, LayerFacts, Whiteouts};
use crate::plan::layers::{Moded, needs_repair};
use crate::plan::refusal::{Limit, Refusal};
use condatainer_images::system::fakeroot::Fakeroot;

/// Whether the start is one of image files that the kernel mounts, as root or by the setuid starter.
pub(crate) fn mounts_by_kernel(engine: &Engine, facts: &Facts) -> bool {
    let is_root = facts.caller.uid == 0;
    engine.is_singularity()
        && (is_root || (engine.setuid && (facts.layers.is_empty() || facts.layers.iter().any(is_file))))
}

/// Refuses what SingularityCE would refuse with less of a reason, or do otherwise than asked.
pub(crate) fn check(
    engine: &Engine,
    facts: &Facts,
    layers: &[Moded<'_>],
    fakeroot: Option<Fakeroot>,
) -> Result<(), Refusal> {
    let refused = |layer: &LayerFacts, limit| Err(Refusal::SingularityCE { path: layer.path.clone(), limit });
    if let Some((path, found)) = &facts.unsupported {
        return Err(Refusal::SingularityCE { path: path.clone(), limit: Limit::Unsupported(found.clone()) });
    }
    let file = layers.iter().map(|(layer, _)| *layer).find(|layer| is_file(layer));
    let directory = layers.iter().map(|(layer, _)| *layer).find(|layer| !is_file(layer));
    match (file, directory) {
        _ if facts.caller.uid == 0 => {}
        (Some(file), _) if !engine.setuid => return refused(file, Limit::NotSetuid(engine.program.clone())),
        (Some(file), _) if fakeroot.is_some() => {
            return refused(file, Limit::FakerootWithImages(facts.fakeroot_origin.clone()));
        }
        (Some(_), Some(directory)) => return refused(directory, Limit::DirectoryWithImages),
        _ if fakeroot == Some(Fakeroot::RootMapped) => {
            return Err(Refusal::NoSubuidRange { origin: facts.fakeroot_origin.clone() });
        }
        _ => {}
    }
    check_deletions(&facts.base, layers)
}

/// The kernel's overlay knows only the kernel's whiteouts, also where the image is written to. What a killed writer left is
/// repaired and translated before the start, and looked at again after it.
fn check_deletions(base: &BaseFacts, layers: &[Moded<'_>]) -> Result<(), Refusal> {
    let shows = |layer: &LayerFacts| {
        layer.image.as_ref().is_some_and(|image| !matches!(image.whiteouts, Whiteouts::Honoured(_)))
    };
    let in_layer = layers.iter().find(|(layer, mode)| shows(layer) && !needs_repair(layer, *mode));
    let path = in_layer.map(|(layer, _)| &layer.path).or(base.shows_deleted.then_some(&base.path));
    match path {
        Some(path) => Err(Refusal::SingularityCE { path: path.clone(), limit: Limit::Deletions }),
        None => Ok(()),
    }
}

/// An image that belongs to root cannot be written: in plain mode the caller is not root, and fakeroot knows no images.
pub(crate) fn check_owner(layer: &LayerFacts, caller: u32) -> Result<(), Refusal> {
    let owner = layer.image.as_ref().and_then(|image| image.upper);
    match owner {
        Some((0, _)) if caller != 0 => {
            Err(Refusal::SingularityCE { path: layer.path.clone(), limit: Limit::OwnedByRoot })
        }
        _ => Ok(()),
    }
}

/// Whether what is kept for one run needs an image of its own: directories do not go with images. Fakeroot would leave it out.
pub(crate) fn wants_scratch_image(engine: &Engine, facts: &Facts, fakeroot: Option<Fakeroot>) -> bool {
    mounts_by_kernel(engine, facts) && fakeroot.is_none_or(|fakeroot| fakeroot == Fakeroot::Root)
}

fn is_file(layer: &LayerFacts) -> bool {
    layer.kind != Kind::Directory
}

#[cfg(test)]
#[path = "../tests/singularity.rs"]
mod tests;
