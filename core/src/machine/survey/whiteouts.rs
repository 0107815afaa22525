//! Whether the kernel's overlay may read the images and directories of a stack, or would show what is deleted in them.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::machine::engine::{Engine, Flavour};
use crate::machine::facts::{BaseFacts, Kind, LayerFacts, Whiteouts};
use crate::request::Request;
use crate::request::layer::{Layer, Mode};
use condatainer_formats::overlayfs::{Meaning, meaning};
use condatainer_images::acquire::usage::Usage;
use condatainer_images::image::state::State;
use condatainer_images::image::{self, Opened};
use condatainer_images::overlay::whiteout::{self, Mounter};

/// How long a start may search an image: about what it costs to honour whiteouts without knowing whether there are any.
const SEARCH: Duration = Duration::from_millis(100);

/// Where anything is written, Apptainer takes fuse-overlayfs by itself; SingularityCE never does.
pub(super) fn matter(request: &Request, engine: Option<&Engine>) -> bool {
    let only_read = |layer: &Layer| matches!(layer.mode, None | Some(Mode::Ro));
    mounter(engine) == Mounter::Root || (!request.write && !request.tmp && request.layers.iter().all(only_read))
}

/// Whose overlay reads the images that this engine mounts.
pub(super) fn mounter(engine: Option<&Engine>) -> Mounter {
    match engine.map(|engine| engine.flavour) {
        Some(Flavour::SingularityCE) => Mounter::Root,
        Some(Flavour::Apptainer) | None => Mounter::User,
    }
}

/// Looks at every image that nobody can have changed since its last mount.
pub(super) fn look(base: &BaseFacts, layers: &mut [LayerFacts], mounter: Mounter) {
    // As the plan stacks them: images on top of everything else.
    let squashfs = layers.iter().filter(|layer| layer.kind == Kind::Squashfs).map(|layer| layer.path.clone());
    let mut below: Vec<PathBuf> = std::iter::once(base.path.clone()).chain(squashfs).collect();
    for layer in layers.iter_mut().filter(|layer| layer.kind != Kind::Squashfs) {
        let path = layer.path.clone();
        if let Some(image) = layer.image.as_mut().filter(|image| is_settled(image.state, &image.usage)) {
            image.whiteouts = whiteouts(&path, &below, mounter);
        }
        below.push(path);
    }
}

/// Whether an overlay that a SIF brings along has deletions that only fuse-overlayfs knows, or may have. Apptainer takes it along
/// with its system, for reading.
pub(super) fn are_in_base(base: &BaseFacts) -> bool {
    base.kind == Kind::Sif && image::open(&base.path).is_ok_and(|opened| may_be_in(&opened))
}

/// Whether fuse-overlayfs has deleted something in a directory layer. The kernel's own whiteouts count everywhere.
pub(super) fn are_in_directory(dir: &Path) -> bool {
    let upper = dir.join("upper");
    let mut pending = vec![if upper.is_dir() { upper } else { dir.into() }];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if meaning(entry.file_name().as_bytes()) != Meaning::Itself {
                return true;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                pending.push(entry.path());
            }
        }
    }
    false
}

fn may_be_in(opened: &Opened) -> bool {
    let Some(window) = opened.image.ext_window() else { return false };
    let many = matches!(&opened.image.kind, image::Kind::Sif(sif) if sif.overlays().count() > 1);
    let found = || whiteout::find(&opened.file, window, Some(SEARCH)).ok().flatten();
    many || !found().is_some_and(|found| whiteout::honoured_on_anything(&found))
}

/// What a killed writer has left is repaired first, and may then be anything.
fn is_settled(state: State, usage: &Usage) -> bool {
    state == State::Clean || matches!(usage, Usage::Readers { .. })
}

fn whiteouts(path: &Path, below: &[PathBuf], mounter: Mounter) -> Whiteouts {
    let look = || {
        let opened = image::open(path).ok()?;
        let window = opened.image.ext_window()?;
        let stamp = opened.probe().ok()??.stamp;
        let honoured = whiteout::honoured_by(mounter, &opened.file, window, below, Some(SEARCH)).ok()??;
        Some((stamp, honoured))
    };
    match look() {
        Some((stamp, true)) => Whiteouts::Honoured(stamp),
        Some((_, false)) => Whiteouts::OfFuse,
        None => Whiteouts::Unknown,
    }
}
