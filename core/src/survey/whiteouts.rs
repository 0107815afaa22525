//! Whether the kernel's overlay may read the images of a stack, or would show what is deleted in them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::facts::{BaseFacts, Kind, LayerFacts, State, Usage, Whiteouts};
use crate::image;
use crate::layer::{Layer, Mode};
use crate::request::Request;
use crate::whiteout;

/// How long a start may search an image: about what it costs to honour whiteouts without knowing whether there are any.
const SEARCH: Duration = Duration::from_millis(100);

/// Where anything is written, Apptainer takes fuse-overlayfs by itself.
pub(super) fn matter(request: &Request) -> bool {
    let only_read = |layer: &Layer| matches!(layer.mode, None | Some(Mode::Ro));
    !request.write && request.layers.iter().all(only_read)
}

/// Looks at every image that nobody can have changed since its last mount.
pub(super) fn look(base: &BaseFacts, layers: &mut [LayerFacts]) {
    // As the plan stacks them: images on top of everything else.
    let squashfs = layers.iter().filter(|layer| layer.kind == Kind::Squashfs).map(|layer| layer.path.clone());
    let mut below: Vec<PathBuf> = std::iter::once(base.path.clone()).chain(squashfs).collect();
    for layer in layers.iter_mut().filter(|layer| layer.kind != Kind::Squashfs) {
        let path = layer.path.clone();
        if let Some(image) = layer.image.as_mut().filter(|image| is_settled(image.state, &image.usage)) {
            image.whiteouts = whiteouts(&path, &below);
        }
        below.push(path);
    }
}

/// What a killed writer has left is repaired first, and may then be anything.
fn is_settled(state: State, usage: &Usage) -> bool {
    state == State::Clean || *usage == Usage::Readers
}

fn whiteouts(path: &Path, below: &[PathBuf]) -> Whiteouts {
    let look = || {
        let opened = image::open(path).ok()?;
        let window = opened.image.ext_window()?;
        let stamp = opened.probe().ok()??.stamp;
        let found = whiteout::find(&opened.file, window, Some(SEARCH)).ok()??;
        Some((stamp, found))
    };
    match look() {
        Some((stamp, found)) if whiteout::honoured(&found, below) => Whiteouts::Honoured(stamp),
        Some(_) => Whiteouts::OfFuse,
        None => Whiteouts::Unknown,
    }
}
