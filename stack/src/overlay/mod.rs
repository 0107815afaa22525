//! A workspace image above the layers, as one tree that the server itself makes of both, without the kernel's OverlayFS.
//!
//! On the disk it is what the kernel's overlay would write: devices 0/0 hide names, attributes make directories opaque. What is changed is
//! copied into the image first, in one change of its journal: after a crash the image has all of it or nothing. A directory that is renamed is copied as
//! a whole first, up to a size; a larger one gives `EXDEV`, as the kernel's overlay gives it for each. So no image has an attribute that others do not know.
//!
//! What the layers have keeps its number for as long as it is mounted, also when it is copied: `known` is the list of what the kernel has of them and of
//! what was copied. `decide` says which of two things under one name shows, `find` looks at both, `copy` copies, `whole` copies directories
//! with all that is in them, `names` makes, takes away and renames, `listing` lists, and `tree` is what the server asks.
//!
//! Names of one file of a layer stay names of one file, whichever is changed: a copy gets all of them (`several`). Of a directory of the host nobody
//! knows which those are, so it gets those that the kernel has looked up. Under others the next session shows the layer's file.

mod copy;
mod decide;
mod find;
mod given;
mod known;
mod listing;
mod names;
mod several;
mod tree;
mod turns;
mod whole;

use parking_lot::RwLock;

use crate::serve::Lower;
use crate::workspace::{Workspace, ino_of};
use known::Known;
use turns::Turns;

/// See the module.
pub struct Overlay {
    upper: Workspace,
    lower: Lower,
    root: u64,
    known: Known,
    /// One copies a thing; who wants the same waits.
    turns: Turns,
    /// Nobody looks a name up between the moment when it is the image's, and when it is known which number that has.
    naming: RwLock<()>,
}

impl Overlay {
    /// A workspace above layers.
    #[must_use]
    pub fn new(upper: Workspace, lower: Lower) -> Self {
        let (root, known) = (lower.root(), Known::default());
        if let Ok(ino) = ino_of(upper.upper()) {
            known.is_copied(root, ino);
        }
        Self { upper, lower, root, known, turns: Turns::default(), naming: RwLock::default() }
    }

    /// How many directories that layers share the kernel has.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.lower.remembered()
    }

    /// The number of the root directory.
    #[must_use]
    pub fn root(&self) -> u64 {
        self.root
    }
}
