//! The small programs that run without a C library, as bytes: whoever starts one executes it from memory.

#![forbid(unsafe_code)]

// `command.rs` is compiled into the shim too, which says `alloc`.
extern crate alloc;

#[path = "../shim/command.rs"]
pub mod command;
pub mod errno;
pub mod exit_code;
#[path = "../interposer/programs.rs"]
mod programs;
#[path = "../relay/meeting.rs"]
pub mod relay;
#[path = "../warden/verdict.rs"]
pub mod verdict;

use std::path::Path;

/// Whether the interposer finds a program of this directory, whatever PATH is.
#[must_use]
pub fn finds(directory: &Path) -> bool {
    let known = programs::OF_APPTAINER.iter().chain(&programs::OF_THE_SYSTEM);
    known.into_iter().any(|known| Path::new(known) == directory)
}

/// What a zsh in a container reads in the place of the user's files, for `make install`.
pub static ZSHENV: &[u8] = include_bytes!("../shells/zshenv");

/// The first process of a container: it becomes the command.
pub static SHIM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/shim"));
/// What stands in front of the engine's FUSE daemons, for `make install`.
pub static INTERPOSER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/interposer"));
/// The library that the interposer loads into fuse-overlayfs, for `make install`.
pub static PRELOAD: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/preload"));
/// What stands in a container for Slurm's commands, for `make install`.
pub static RELAY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/relay"));
/// Root's process above the keeper of a step's container.
pub static WARDEN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/warden"));
