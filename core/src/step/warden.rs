//! The warden of a step's container: root's process that ends the keeper and all that it has started (`programs/warden/`).
//!
//! The plugin starts it, out of a memory file: so it is of the plugin's own release, and root runs no other file.

pub use condatainer_programs::WARDEN;
pub use condatainer_programs::verdict::{KEEPER_LOST, KEEPER_UNSERVED, Verdict};
