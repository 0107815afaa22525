//! One directory of the merged tree: the directories of several layers, up to the first that hides the rest.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::error::LowerError;
use super::layer::{Child, Layer};
use super::node::{At, LowerNode};
use crate::ext::FileType;
use crate::whiteout::{Meaning, meaning};

/// The same directory in each layer that shows there, topmost first.
pub(super) struct Merged {
    parts: Vec<Part>,
}

/// One layer's part of a directory.
#[derive(Default)]
struct Part {
    layer: usize,
    names: HashMap<Vec<u8>, (At, Option<FileType>)>,
    hides: HashSet<Vec<u8>>,
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
            let part = Part::of(number, layer.list(&at)?);
            let opaque = part.opaque || layer.is_opaque(&at)?;
            parts.push(part);
            if opaque {
                break;
            }
        }
        Ok(Self { parts })
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
            let mut hides: Vec<&[u8]> = part.hides.iter().map(Vec::as_slice).collect();
            for (name, (_, kind)) in &part.names {
                if hidden.contains(name.as_slice()) {
                    continue;
                }
                if may_be_whiteout(*kind) && part.node(layers, name)?.is_some_and(|node| node.is_kernel_whiteout()) {
                    hides.push(name);
                } else {
                    names.insert(name.clone());
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
    fn of(layer: usize, children: Vec<Child>) -> Self {
        let mut part = Self { layer, ..Self::default() };
        for Child { name, at, kind } in children {
            match meaning(&name) {
                Meaning::Opaque => part.opaque = true,
                Meaning::Hides(hidden) => {
                    part.hides.insert(hidden.to_vec());
                }
                Meaning::Itself => {
                    part.names.insert(name, (at, kind));
                }
            }
        }
        part
    }

    fn node(&self, layers: &Layers, name: &[u8]) -> Result<Option<LowerNode>, LowerError> {
        let (Some((at, _)), Some(layer)) = (self.names.get(name), layers.get(self.layer)) else { return Ok(None) };
        Ok(Some(LowerNode { layer: self.layer, ..layer.node(at)? }))
    }
}
