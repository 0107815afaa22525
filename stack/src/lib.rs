//! The mounted stack: images served by one program of our own and stacked by the kernel, without any privilege.
//!
//! [`layer`] is one read-only tree: a squashfs, what lies in an ext image, the mount points that an engine needs. `merge` makes one tree of
//! several, in which whiteouts count. `serve` answers the kernel's FUSE requests about it. `scratch` is the tree that `:tmp` writes to, `workspace` the one in an image that is written,
//! and `overlay` that one above the layers, as one tree.
//! `namespace` makes the user's own user and mount namespace, mounts the server there and the kernel's OverlayFS on it; `process` starts
//! the server and ends it, and `processors` says where its threads run.

#![forbid(unsafe_code)]

pub mod ids;
pub mod layer;
pub mod merge;
pub mod namespace;
pub mod overlay;
mod posix_acl;
pub mod process;
mod processors;
pub mod scratch;
pub mod serve;
pub mod workspace;
