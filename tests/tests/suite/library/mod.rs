//! Layers that are built, and what others could put in their place.

pub(crate) mod conda;
pub(crate) mod create;
pub(crate) mod trust;
