//! The external tools that work on images: where they are ([`programs`]), how they are run (`run`), and what their failures mean
//! ([`ToolError`], `reason`, [`disk_full`]). `e2fsprogs`, `e2fsck` and [`mksquashfs`]
//! know their tools' options.

pub mod disk_full;
pub(crate) mod e2fsck;
pub(crate) mod e2fsprogs;
mod error;
pub mod memfd;
pub mod mksquashfs;
pub mod open_file;
pub mod programs;
mod reason;
pub mod run;

pub use error::ToolError;
