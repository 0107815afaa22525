//! The journal of ext3 and ext4 (JBD2): what a file system holds once its journal is replayed, without a byte being written.
//!
//! Whoever was killed while a file system was mounted leaves what he wrote last in the journal only. The kernel copies it to its places
//! when it mounts the next time; a reader need only know, for each block, where in the journal its content lies. [`recover`] finds that out
//! as the kernel does, in its three passes: how far the log is sound, which blocks are revoked, and which block lies where. A last
//! transaction that was not committed does not count.
//!
//! `superblock` says where the log begins and which features it has, `log` reads its blocks, `block` their parts; `scan` is the first pass,
//! `recovery` the others, and [`Replay`] what they come to. [`encode`] makes blocks of a log that is written. The journal is told as something to read of its own, from its first byte; which
//! file holds it is ext's business.

mod block;
pub mod encode;
mod error;
mod log;
mod recovery;
mod replay;
mod scan;
mod superblock;

pub use error::JournalError;
pub use recovery::recover;
pub use replay::{Place, Replay};
pub use superblock::RawJournalSuperblock;
