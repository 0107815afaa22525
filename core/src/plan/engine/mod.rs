//! What the engines other than an unprivileged Apptainer can do with a stack, and what is refused there with the way out. Pure.

pub(crate) mod setuid;
pub(crate) mod singularity;
