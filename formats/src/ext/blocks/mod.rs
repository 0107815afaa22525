//! Where the content of a file lies: block maps of ext2 and ext3, extent trees of ext4, and what they may claim together.

pub mod claims;
pub mod content;
mod extent;
pub mod map;
pub mod pointers;
