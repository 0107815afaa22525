//! What a site lets its users start: the bases and the places of layers that are allowed, whose the layers of a shared directory must be,
//! and the layers that everybody gets. It is a rule for what condatainer starts, not a wall around users, who have the engine too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The table `[policy]` of the site's file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Base images, and directories below which all are allowed; `None`: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bases: Option<Vec<PathBuf>>,
    /// Layers, and directories below which all are allowed; `None`: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<Vec<PathBuf>>,
    /// By directory, to whom the bases and layers below it must belong: names or numbers of users.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub owners: BTreeMap<PathBuf, Vec<String>>,
    /// Layers that everybody gets, lowest first, below all others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub always: Vec<PathBuf>,
}

impl Policy {
    /// Whether it says anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// All paths in it, each with the key that names it.
    pub(crate) fn paths(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let bases = self.bases.iter().flatten().map(|path| ("policy.bases", path));
        let layers = self.layers.iter().flatten().map(|path| ("policy.layers", path));
        bases
            .chain(layers)
            .chain(self.owners.keys().map(|path| ("policy.owners", path)))
            .chain(self.always.iter().map(|path| ("policy.always", path)))
    }

    /// Whether the site itself puts this layer into every container.
    #[must_use]
    pub fn is_everybodys(&self, layer: &Path) -> bool {
        self.always.iter().any(|always| always == layer)
    }
}
