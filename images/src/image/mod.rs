//! Images: what a path is, told from its content and never from its name.

pub(crate) mod attributes;
mod error;
mod identify;
mod kind;
pub mod state;

pub use condatainer_formats::sif::{Partition, PartitionFs, Role, Sif};
pub use condatainer_formats::squashfs::superblock::SquashfsInfo;
pub use error::ImageError;
pub(crate) use identify::identify_file;
pub use identify::{Opened, identify, may_hold_work, open, squashfs_info, squashfs_info_at};
pub use kind::{Image, Kind};
