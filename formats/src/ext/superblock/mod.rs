//! The superblock: its bytes under the kernel's names, what of them was checked, and what is made of it.

mod checked;
mod disk;
pub(crate) mod features;
mod stamp;

pub use checked::Superblock;
pub(crate) use disk::has_magic;
pub use disk::{COMPAT_AT, ROOT_INO, RawSuperblock, SUPERBLOCK_OFFSET};
pub(crate) use disk::{ERRORS, SUPERBLOCK_SIZE, VALID};
pub use stamp::Stamp;
