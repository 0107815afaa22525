//! Directories against e2fsck and the kernel.

mod hostile;
mod index;
mod listing;
mod model;
mod oracle;
mod trial;
