//! The FUSE server: it answers the kernel's requests about the trees below the mount's root.
//!
//! The root has a fixed directory for each [`tree`]: `lower`, the layers as one tree, and, where something is written, `upper` and
//! `work`.

pub mod tree;
