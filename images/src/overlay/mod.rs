//! An overlay's two halves: the upper directory, which an image holds, and the lower layers, on which it is stacked.
//!
//! [`upper_of`] says which directory of a layer shows. [`lower`] is the stack of layers as one tree, merged as an overlay merges them. `upper` reads a directory of the image with its names
//! sorted by their meaning. [`whiteout`] knows all that an image says is deleted below it, and whether the kernel's overlay honours that.

mod content;
pub mod lower;
pub(crate) mod path;
pub(crate) mod upper;
pub mod whiteout;

pub use content::upper_of;
