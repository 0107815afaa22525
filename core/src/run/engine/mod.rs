//! The engine as a running program: its descriptors, its daemons, the signals that it gets, and the socket to the shim in its container.

pub mod abandoned;
pub(crate) mod child;
pub mod daemons;
pub(crate) mod descriptors;
pub(crate) mod engine_config;
pub(crate) mod leftovers;
pub(crate) mod shim_socket;
pub(crate) mod signals;
pub(crate) mod stuck;
