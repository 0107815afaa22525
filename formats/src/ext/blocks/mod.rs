//! Where the content of a file lies: block maps of ext2 and ext3, extent trees of ext4, and what they may claim together.

pub(crate) mod claims;
pub(crate) mod content;
mod extent;
pub(crate) mod journal;
pub(crate) mod map;
pub(crate) mod pointers;
