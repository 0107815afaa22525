//! The external tools that work on images (e2fsprogs, mksquashfs): where they are, how they are run, and what their failures mean.

pub mod e2fsprogs;
pub mod full;
pub mod memory;
pub mod mksquashfs;
pub mod preen;
pub mod programs;
