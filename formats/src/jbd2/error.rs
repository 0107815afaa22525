//! What can be wrong with a journal.

use std::io;

/// Why a journal cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It contradicts itself; says how.
    #[error("its journal {0}")]
    Corrupt(&'static str),
    /// It uses something that is not understood.
    #[error("{0}")]
    Unsupported(String),
}
