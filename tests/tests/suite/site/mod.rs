//! What differs from site to site: engines, releases, and what the node says about itself.

pub(crate) mod bundled;
pub(crate) mod cli;
pub(crate) mod doctor;
pub(crate) mod every_engine;
pub(crate) mod policy;
pub(crate) mod releases;
pub(crate) mod setuid;
pub(crate) mod singularity;
pub(crate) mod slips;
