//! What differs from site to site: engines, releases, policy, what nobody names, and what the node says about itself.

pub(crate) mod bundled;
pub(crate) mod defaults;
pub(crate) mod doctor;
pub(crate) mod every_engine;
pub(crate) mod policy;
pub(crate) mod record;
pub(crate) mod releases;
pub(crate) mod setuid;
pub(crate) mod singularity;
