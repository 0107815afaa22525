//! How an ext3 image is written: every change is a transaction of its journal.
//!
//! The way through, from the bytes upwards. A [`device`] is what the image lies on. `store` keeps metadata blocks: a change is made through
//! a `Handle`, whole or not at all, and belongs to the running transaction. `journal` commits that transaction as JBD2 does, replays, and
//! writes blocks to their places. `alloc` gives and takes blocks and inodes, `inode` is one record, `map` leads from a file's blocks to those of the disk,
//! `directory` and `xattr` are names and attributes. [`Volume`] is the file system as programs see it.
//!
//! Nothing in here knows a path or starts a process.

#![forbid(unsafe_code)]
// What tests share is used by some of them only.
#![cfg_attr(
    test,
    allow(
        unreachable_pub,
        dead_code,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unit_arg,
        clippy::type_complexity
    )
)]

// What tests share is written as if it stood outside.
#[cfg(test)]
extern crate self as condatainer_writer;

mod alloc;
pub mod device;
mod directory;
mod error;
mod geometry;
mod inode;
mod journal;
mod map;
#[cfg(test)]
#[path = "../tests/support/record.rs"]
mod record;
mod store;
#[cfg(test)]
mod testing;
mod volume;
mod xattr;

pub use error::{Error, Result};
pub use journal::{Replayed, replay};
pub use volume::{Changes, Copied, Listed, Named, New, Renaming, Room, Volume, now, recover, unwritten};
pub use xattr::How;
