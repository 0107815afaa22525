//! OverlayFS's two halves: the stack of lower layers as one tree, and the whiteouts that say what of it is deleted.

pub mod lower;
pub(crate) mod upper;
pub mod whiteout;
