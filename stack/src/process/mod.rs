//! The processes of a mounted stack: the server, and the one that becomes the engine.
//!
//! ```text
//! exec, keep (P)        plans, opens and locks the images, starts both, and is left when they are gone
//!  ├─ serve-stack (S)   serves the FUSE mount from outside of its namespaces, until the last process in there has ended
//!  └─ enter-stack (E)   makes the namespaces and the mounts, and becomes the engine
//! ```
//! S and E are this program, by the verbs [`SERVE`] and [`ENTER`]. Each has a socket at its standard input and talks to P alone
//! ([`channel`], [`message`]), so that nothing is in an argument and no name in a file system leads to them. [`start`] is P's side,
//! [`server`] that of S and [`entry`] that of E.

mod channel;
pub mod entry;
mod message;
pub mod server;
pub mod start;
pub mod tree;

pub use crate::merge::Mounted;
pub use message::{Entry, Format, Image, Point, Stack};

/// The verb of the server.
pub const SERVE: &str = "serve-stack";
/// The verb of what becomes the engine; its words follow.
pub const ENTER: &str = "enter-stack";
