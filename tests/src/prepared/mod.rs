//! What is built once and kept in the cache: roots of Debian releases, base images, layers and tools for tests.

pub mod base;
pub mod conda;
mod mirror;
mod mmdebstrap;
pub mod modules;
pub(crate) mod pip;
pub mod roots;
pub(crate) mod tree;
