//! Inodes: the bytes of one, under the kernel's names, and sets of their numbers.

mod disk;
mod set;

pub(crate) use disk::I_BLOCK_AT;
pub use disk::{Inode, InodeRecord, flag};
pub use set::InoSet;
