//! A layer by `apptainer build`: what is built and its way to its place ([`build`]), the command line, and what Apptainer's words
//! mean when it fails.

pub(super) mod build;
pub(super) mod command;
mod output;
