//! What can be done with an image, one module for each command of `condatainer overlay`.

pub mod check;
pub mod chown;
pub mod create;
pub mod diff;
pub mod info;
pub mod resize;
pub mod seal;
pub mod with_root;
