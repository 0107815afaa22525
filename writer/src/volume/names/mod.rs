//! Names come and go, get others, and hide what an overlay has below.

mod copy;
mod over;
mod plain;
mod rename;
mod whiteouts;

pub use copy::Copied;
#[cfg(test)]
pub(crate) use plain::MOST_LINKS;
pub use plain::{Listed, Named, New};
pub use rename::Renaming;
