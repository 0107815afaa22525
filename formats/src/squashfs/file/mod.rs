//! The content of files: from the start as a stream, and at any offset.

mod ahead;
mod content;
mod pieces;
mod random;

pub use ahead::Spot;
pub(super) use ahead::prepare;
pub use content::Content;
pub(super) use pieces::Marks;
pub(super) use random::{read, seek};
