//! Who gets which block and which inode.
//!
//! Bitmaps, group descriptors and the superblock's counts are changed through the same handle, so they always agree.

mod bitmap;
mod blocks;
mod groups;
mod inodes;
mod search;
#[cfg(test)]
mod tests;

pub(crate) use blocks::{blocks, free_data, free_metadata, hold, take};
pub(crate) use inodes::{free_inode, inode, is_used};
