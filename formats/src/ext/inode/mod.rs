//! Inodes: the bytes of one, under the kernel's names, and sets of their numbers.

mod disk;
mod set;

pub use disk::{I_BLOCK_AT, Inode, InodeRecord, flag};
pub use set::InoSet;
