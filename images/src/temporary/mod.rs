//! Files and directories that exist only while we work: a [`Draft`] beside the place ([`Target`]) where a file is to be, and a directory of our own
//! ([`private_dir`]).
//!
//! Both are locked by their maker and taken away by `Drop`, by a signal ([`on_signal`]), or, after a SIGKILL, by the next maker who
//! comes along ([`sweep`]).

pub(crate) mod attributes;
mod draft;
mod draft_name;
pub mod on_signal;
pub mod private_dir;
mod sweep;
mod target;

pub use draft::Draft;
pub use draft_name::Kind;
pub use sweep::{in_the_making, sweep};
pub use target::{Target, Unfit};

/// What lies in a directory, in order.
#[cfg(test)]
fn names(directory: &std::path::Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
