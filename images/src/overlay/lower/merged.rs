//! One directory of the merged tree: the directories of several layers, up to the first that hides the rest.

use std::collections::BTreeSet;

use super::error::LowerError;
use super::layer::{Child, Layer};
use super::names::Names;
use super::node::{At, LowerNode};
use condatainer_formats::ext::FileType;
use condatainer_formats::overlayfs::{Meaning, may_be_users, meaning};

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

    /// How many names are kept of it, where long ones count as several.
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.names.weight() + part.hides.weight()).sum()
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
        let mut names = BTreeSet::new();
        self.each_name::<LowerError>(layers, &mut |name| {
            names.insert(name.to_vec());
            Ok(())
        })?;
        Ok(names)
    }

    /// Calls `visit` with each name that shows. The topmost part that knows a name decides, whether it shows or hides it.
    pub(super) fn each_name<E: From<LowerError>>(
        &self,
        layers: &Layers,
        visit: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        for (number, part) in self.parts.iter().enumerate() {
            let above = self.parts.get(..number).unwrap_or_default();
            let is_decided =
                |name: &[u8]| above.iter().any(|part| part.names.contains(name) || part.hides.contains(name));
            for (name, kind) in part.names.iter().filter(|(name, _)| !is_decided(name)) {
                let whiteout = may_be_whiteout(kind)
                    && part.node(layers, name).map_err(E::from)?.is_some_and(|node| node.is_kernel_whiteout());
                if !whiteout {
                    visit(name)?;
                }
            }
        }
        Ok(())
    }
}

fn may_be_whiteout(kind: Option<FileType>) -> bool {
    matches!(kind, None | Some(FileType::CharDevice))
}

impl Part {
    fn of(number: usize, layer: &dyn Layer, directory: &At) -> Result<Self, LowerError> {
        let mut part = Self { layer: number, ..Self::default() };
        let mut marks = Vec::new();
        layer.list(directory, &mut |child| match meaning(&child.name) {
            Meaning::Opaque | Meaning::Hides(_) => marks.push(child),
            Meaning::Itself => part.names.push(&child.name, child.at, child.kind),
        })?;
        for Child { name, at, kind } in marks {
            match meaning(&name) {
                _ if may_be_users(kind) && layer.is_users(&at)? => part.names.push(&name, at, kind),
                Meaning::Opaque => part.opaque = true,
                Meaning::Hides(hidden) => part.hides.push(hidden, at, None),
                Meaning::Itself => {}
            }
        }
        part.names.sort();
        part.hides.sort();
        Ok(part)
    }

    fn node(&self, layers: &Layers, name: &[u8]) -> Result<Option<LowerNode>, LowerError> {
        let (Some(at), Some(layer)) = (self.names.get(name), layers.get(self.layer)) else { return Ok(None) };
        Ok(Some(LowerNode { layer: self.layer, ..layer.node(at)? }))
    }
}
