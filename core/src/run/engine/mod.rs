//! The engine as a running program: its descriptors, its daemons, the signals that it gets, and the socket to the shim in its container.

pub mod child;
pub mod daemons;
pub mod descriptors;
pub mod engine_config;
pub mod leftovers;
pub mod link;
pub mod orphans;
pub mod signals;
