//! Takes an image for this process alone.
//!
//! [`LockedImage`] is the image, open and locked; its lock is the kernel's, and beside it lies a note that says who has it
//! ([`holder`]). [`usage`] asks the same without taking anything. What is not clean is cleaned first, by an `e2fsck -p` that can be
//! killed at any instant.

pub(crate) mod automatic_repair;
mod clean;
mod error;
pub mod holder;
mod locked;
pub mod usage;

pub use error::AcquireError;
pub use locked::{LockedImage, Purpose};
