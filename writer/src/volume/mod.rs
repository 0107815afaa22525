//! The file system as programs see it.
//!
//! An operation is one change of the store, or several with data written between them. Locks are taken in this order: a file's content, the
//! journal, the store, the users.

mod base;
mod commit;
mod content;
mod flags;
mod names;
mod open;
pub(crate) mod orphan;
mod recover;
mod says;
#[cfg(test)]
mod tests;
mod trouble;

pub use base::{Volume, now};
pub use names::{Copied, Listed, Named, New, Renaming};
pub use open::unwritten;
pub use recover::recover;
pub use says::{Changes, Room};
