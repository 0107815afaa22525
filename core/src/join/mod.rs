//! Enters a running container and becomes a command in it. A task enters the container of its step. A user's own process enters the
//! container of a step or of a session.
//!
//! [`running`] finds the containers that there are, [`compatibility`] tells whether this process can enter one, and [`container`]
//! takes it in: with the [`environment`] that a start there would have given it, and the [`privileges`] of the container's first
//! process.

mod compatibility;
pub mod container;
pub(crate) mod environment;
mod error;
mod privileges;
pub mod running;
pub(crate) mod shim;
pub(crate) mod system;

pub(crate) use compatibility::{OTHER_VIEW, why_not_shared};
pub use error::JoinError;
