//! One directory of the merged tree: the directories of several layers, up to the first that hides the rest.

use std::collections::{BTreeSet, HashSet};

use super::error::LowerError;
use super::layer::{Child, Layer};
use super::names::Names;
use super::node::{At, LowerNode};
use condatainer_formats::ext::FileType;
use condatainer_formats::overlayfs::{Meaning, meaning};

/// The same directory in each layer that shows there, topmost first.
pub(super) struct Merged {
    parts: Vec<Part>,
}

/// One layer's part of a directory.
#[derive(Default)]
struct Part {
    layer: usize,
    names: Names,
    hides: Names,
    opaque: bool,
}

/// What stands under a name.
pub(super) struct Found {
    pub(super) node: LowerNode,
    /// Of a directory: where it lies in each layer that has it, topmost first.
    pub(super) below: Vec<(usize, At)>,
}

type Layers = [Box<dyn Layer>];

impl Merged {
    /// Merges directories, topmost first, down to the first opaque one.
    pub(super) fn open(
        layers: &Layers,
        directories: impl IntoIterator<Item = (usize, At)>,
    ) -> Result<Self, LowerError> {
        let mut parts = Vec::new();
        for (number, at) in directories {
            let Some(layer) = layers.get(number) else { continue };
            let part = Part::of(number, layer.as_ref(), &at)?;
            let opaque = part.opaque || layer.is_opaque(&at)?;
            parts.push(part);
            if opaque {
                break;
            }
        }
        Ok(Self { parts })
    }

    /// How many names are kept of it.
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.names.len() + part.hides.len()).sum()
    }

    /// What stands under `name`: the topmost, unless a whiteout above it hides it.
    pub(super) fn find(&self, layers: &Layers, name: &[u8]) -> Result<Option<Found>, LowerError> {
        let mut found: Option<Found> = None;
        for part in &self.parts {
            if let Some(node) = part.node(layers, name)? {
                let (directory, at) = (node.kind == FileType::Directory, node.at.clone());
                match &mut found {
                    _ if node.is_kernel_whiteout() => break,
                    Some(above) if directory => above.below.push((part.layer, at)),
                    // A file below a directory of the same name does not show.
                    Some(_) => break,
                    None => found = Some(Found { node, below: vec![(part.layer, at)] }),
                }
                if !directory {
                    break;
                }
            }
            // A whiteout beside the name itself hides only what is below.
            if part.hides.contains(name) {
                break;
            }
        }
        Ok(found)
    }

    /// All names that show.
    pub(super) fn names(&self, layers: &Layers) -> Result<BTreeSet<Vec<u8>>, LowerError> {
        let (mut names, mut hidden) = (BTreeSet::new(), HashSet::new());
        for part in &self.parts {
            let mut hides: Vec<&[u8]> = part.hides.iter().map(|(name, _)| name).collect();
            for (name, kind) in part.names.iter().filter(|(name, _)| !hidden.contains(name)) {
                if may_be_whiteout(kind) && part.node(layers, name)?.is_some_and(|node| node.is_kernel_whiteout()) {
                    hides.push(name);
                } else {
                    names.insert(name.to_vec());
                }
            }
            hidden.extend(hides);
        }
        Ok(names)
    }
}

fn may_be_whiteout(kind: Option<FileType>) -> bool {
    matches!(kind, None | Some(FileType::CharDevice))
}

impl Part {
    fn of(number: usize, layer: &dyn Layer, directory: &At) -> Result<Self, LowerError> {
        let mut part = Self { layer: number, ..Self::default() };
        layer.list(directory, &mut |Child { name, at, kind }| match meaning(&name) {
            Meaning::Opaque => part.opaque = true,
            Meaning::Hides(hidden) => part.hides.push(hidden, at, None),
            Meaning::Itself => part.names.push(&name, at, kind),
        })?;
        part.names.sort();
        part.hides.sort();
        Ok(part)
    }

    fn node(&self, layers: &Layers, name: &[u8]) -> Result<Option<LowerNode>, LowerError> {
        let (Some(at), Some(layer)) = (self.names.get(name), layers.get(self.layer)) else { return Ok(None) };
        Ok(Some(LowerNode { layer: self.layer, ..layer.node(at)? }))
    }
}
