//! The fuzz targets: any bytes in, and whatever they say, an answer soon, without a panic and without reading or holding more
//! than they are worth.
//!
//! cargo-fuzz runs them through `fuzz_targets/`, and `core/tests/fuzz` runs the very same functions on stable Rust.

// A broken promise of the engine has to be loud here.
#![allow(missing_docs, clippy::panic, clippy::unwrap_used, clippy::expect_used)]

mod image;
mod kinds;
mod request;
mod tree;
mod volume;

pub use image::Sparse;
pub use kinds::{kinds, sif, squashfs};
pub use request::{layers, request};
pub use tree::ext;
pub use volume::volume;

/// A name and what it does with the bytes.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: [Target; 7] = [
    ("ext", ext),
    ("volume", volume),
    ("kinds", kinds),
    ("sif", sif),
    ("squashfs", squashfs),
    ("layers", layers),
    ("request", request),
];
