//! Files that somebody else may have put there: side-cars, notes, configurations.
//!
//! In a directory that others can write to, a name proves nothing. Behind it may be a link to another file, a fifo that never
//! answers, a device without end, or a file of a stranger's. So such a file is opened once, with [`open`], which neither follows a
//! stranger's link nor waits. All questions then go to the open file: what it is, how large, whose, who else can write it.
//! What a name leads to later is never asked again.
//!
//! The way: `open` opens a file and asks its `mode` and its `owners`; `of_root` does so for one that root alone can have put there.
//! `found` asks the same about an image that was found by a name, `tmpdir` about a directory in which we write ourselves, and
//! `open_dir` holds a directory by its descriptor for whoever removes things in it.

mod error;
mod found;
pub mod mode;
mod of_root;
mod open;
pub mod open_dir;
pub(crate) mod owners;
pub mod tmpdir;

pub use error::TrustError;
pub use found::{stranger, strangers_directory};
pub use of_root::open_of_root;
pub use open::{Links, Opened, open};
pub use owners::{Owners, is_private, name_of};

#[cfg(test)]
mod tests;
