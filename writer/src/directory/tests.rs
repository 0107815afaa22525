//! Directories against e2fsck and the kernel.

mod hostile;
mod model;
mod oracle;
mod trial;
