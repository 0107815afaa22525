//! One tree of several layers, lowest first, in which the marks of every overlay count and none shows.
//!
//! `merged` is the tree, `node` a place in it, and `stacked` a layer with its name. `union` decides which names of a directory show,
//! `listing` is what comes of it, and `cache` keeps the last ones. `points` makes the mount points that the tree lacks. So a name costs one
//! search, however many layers there are. Of files is remembered only which have their content where they are (`whole`), and in which directories
//! those are that have several names, if somebody writes to one (`several`).
//!
//! `overlay::lower` of the crate `images` merges layers too, for seal and diff: they walk a tree once, and know directories of the host as
//! layers. This one answers many threads at any place. `stack/tests/merge.rs` compares both with the kernel.

mod cache;
mod listing;
mod merged;
mod node;
mod points;
mod several;
mod stacked;
mod union;
mod whole;

pub use listing::{Listing, Named};
pub use merged::Merged;
pub use node::{Node, Part};
pub use points::{Mounted, Point, Unmade, with_points};
pub(crate) use several::Way;
pub use stacked::Stacked;
