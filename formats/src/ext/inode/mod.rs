//! Inodes: the bytes of one, under the kernel's names, and sets of their numbers.

mod disk;
mod record;
mod set;

pub(crate) use disk::I_BLOCK_AT;
pub use disk::{Inode, flag};
pub use record::InodeRecord;
pub use set::InoSet;
