//! The engine as a running program: its descriptors, the signals that it gets, the socket to the shim in its container, and who is left
//! in there.

pub(crate) mod child;
pub(crate) mod descriptors;
pub(crate) mod leftovers;
pub(crate) mod shim_socket;
pub(crate) mod signals;
pub(crate) mod stuck;
