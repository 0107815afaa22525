//! The tree that `:tmp` writes to: names and inodes lie in memory, content in one file without a name.
//!
//! The kernel's OverlayFS has its `upper` and its `work` in it. So it knows everything that an upper directory needs: renaming with all flags,
//! devices 0/0, attributes, hard links, access control lists. Nothing of it outlives the mount, so fsync(2) has nothing to do.
//!
//! [`fs`] is the whole of it, [`names`], [`rename`] and [`change`] are what can be done with it, and [`tree`] is how the server asks for
//! that. [`data`] has the content.

mod change;
mod data;
mod directory;
mod fs;
mod names;
mod node;
mod nodes;
mod rename;
mod tree;
mod xattrs;

pub use data::Backing;
pub use fs::Scratch;
