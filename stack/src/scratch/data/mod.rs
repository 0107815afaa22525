//! The content of all files of a scratch tree, in one file without a name.
//!
//! Each file has a map of its blocks ([`extents`]); [`space`] knows which blocks are free. Two things always hold: a block that belongs to a
//! file was written, or reads as zeros, from its first to its last byte, and what lies behind the end of a file is zero. So a
//! block that held something before is filled up when a part of it is written, and nobody sees what another file once had.

mod backing;
mod content;
mod extents;
mod pool;
mod ranges;
mod space;
#[cfg(test)]
mod tests;

pub use backing::Backing;
pub(super) use content::Content;
pub(super) use pool::{BLOCK, Data};
