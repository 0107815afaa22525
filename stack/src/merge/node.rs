//! A place in the merged tree.

use std::sync::Arc;

use crate::layer::Key;

/// A place in one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Part {
    /// Which layer, counted from the lowest.
    pub layer: u16,
    /// Where in it.
    pub key: Key,
}

/// Something in the merged tree.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Node {
    /// Anything that one layer has for itself.
    One(Part),
    /// A directory that several layers have, topmost first; at least two.
    Several(Arc<[Part]>),
}

impl Node {
    /// From parts, topmost first.
    pub(super) fn of(parts: Vec<Part>) -> Option<Self> {
        match *parts {
            [] => None,
            [part] => Some(Self::One(part)),
            _ => Some(Self::Several(parts.into())),
        }
    }

    /// Its parts, topmost first.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        match self {
            Self::One(part) => std::slice::from_ref(part),
            Self::Several(parts) => parts,
        }
    }

    /// The part that says what it is, whose, and how large.
    #[must_use]
    pub fn topmost(&self) -> Part {
        match self {
            Self::One(part) => *part,
            Self::Several(parts) => parts.first().copied().unwrap_or(Part { layer: u16::MAX, key: Key(0) }),
        }
    }
}
