//! What is done to images, and what becomes of them: writers, deletions, repairs, sizes, layers made of them.

pub(crate) mod check;
pub(crate) mod copy_up;
pub(crate) mod diff;
pub(crate) mod resize;
pub(crate) mod seal;
pub(crate) mod slow_disk;
pub(crate) mod whiteouts;
pub(crate) mod with_root;
pub(crate) mod writers;
