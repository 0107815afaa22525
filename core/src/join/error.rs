//! Why a command does not run in another process's container.

use std::io;
use std::path::PathBuf;

use crate::plan::refusal::Refusal;

/// Why a command does not run in another process's container.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The container cannot be entered by this process.
    #[error("{0}")]
    NotShared(&'static str),
    /// The system refused something.
    #[error("the container cannot be entered: {what}: {source}")]
    System {
        /// What was to be done.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The working directory is none that a container can show.
    #[error("{0}")]
    NoPlace(Box<Refusal>),
    /// The container has not got the working directory.
    #[error("{}: the working directory cannot be entered in the container: {why}: go to another", path.display())]
    Nowhere {
        /// The directory.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// There is no such command in the container.
    #[error("no such command in the container")]
    NotFound,
    /// It is there, but the system does not execute it.
    #[error("cannot be executed in the container: {0}")]
    NotExecutable(String),
}

pub(super) fn system(what: &'static str) -> impl FnOnce(io::Error) -> JoinError {
    move |source| JoinError::System { what, source }
}
