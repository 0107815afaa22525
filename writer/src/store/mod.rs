//! The metadata blocks of an open image: what they say now, and which of them the running transaction has changed.
//!
//! A block is looked for in the running transaction, then in the one that is being committed, then among those that are kept in memory,
//! then on the device. All changes go through a [`Handle`]: they count together or not at all. What a transaction has taken from the
//! file system for good, freed blocks, is not given away again before the transaction is committed: after a crash before that, the old file has them
//! still.

mod bytes;
mod handle;
mod kept;
mod metadata;
mod orphans;
mod pending;
mod reserved;
mod room;
mod transaction;

pub(crate) use bytes::Bytes;
pub(crate) use handle::Handle;
pub(crate) use metadata::Store;
pub(crate) use room::Held;
pub(crate) use transaction::{Limits, Transaction};
