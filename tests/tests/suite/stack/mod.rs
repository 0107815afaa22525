//! The mounted stack: what holds where condatainer mounts the layers itself (`mounts = "own"`).

pub(crate) mod foreign;
pub(crate) mod own_directories;
pub(crate) mod own_disk;
pub(crate) mod own_engines;
pub(crate) mod own_mounts;
pub(crate) mod own_network;
pub(crate) mod own_steps;
pub(crate) mod own_workspace;
mod servers;
pub(crate) mod tmp;
