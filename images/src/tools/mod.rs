//! The external tools that work on images (e2fsprogs, mksquashfs): where they are, how they are run, and what their failures mean.

pub mod disk_full;
pub mod e2fsprogs;
pub mod memfd;
pub mod mksquashfs;
pub mod programs;
