//! How a run ended, or why nothing was run.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

use crate::machine::engine::Flavour;
use crate::plan::refusal::Refusal;
use condatainer_images::acquire::AcquireError;
use condatainer_images::verbs::create::CreateError;
use condatainer_programs::command::ANOTHER;
use condatainer_programs::errno::ENOENT;
use condatainer_programs::exit_code::{NOT_EXECUTABLE, NOT_FOUND};

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The command's own exit code.
    Exited(i32),
    /// The signal that ended the command.
    Signaled(i32),
    /// The command is in the container, but cannot be executed; the system's reason.
    NotExecutable(String),
    /// There is no such command in the container.
    NotFound,
}

impl Ended {
    /// The exit code, or the signal, as the record of use has them.
    pub(crate) fn told(&self) -> (Option<i32>, Option<i32>) {
        match self {
            Self::Exited(code) => (Some(*code), None),
            Self::Signaled(signal) => (None, Some(*signal)),
            Self::NotExecutable(_) => (Some(NOT_EXECUTABLE.into()), None),
            Self::NotFound => (Some(NOT_FOUND.into()), None),
        }
    }

    /// Whether a signal has ended it. Apptainer ends itself with what a shell would say of its container.
    pub(crate) fn is_by_signal(&self) -> bool {
        matches!(self, Self::Signaled(_)) || matches!(self, Self::Exited(code) if (129..=192).contains(code))
    }
}

/// Why the command was not started.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A layer changed between the decision and the start, or somebody else was faster.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The engine gave up before the container stood; it has said why.
    #[error(
        "{engine} could not start the container (it ended with {ended}); its own message is above; 'condatainer doctor' looks for the reason"
    )]
    Engine {
        /// Which one.
        engine: Flavour,
        /// Its exit code or signal.
        ended: String,
    },
    /// The layers could not be mounted by ourselves; nothing has run.
    #[error("the layers cannot be mounted: {0}: --mounts=engine leaves that to the engine")]
    Mounts(String),
    /// The user did not wait for the container.
    #[error("interrupted by signal {0} before the command was started")]
    Interrupted(i32),
    /// The container has not got the directory that the command was to start in.
    #[error(
        "{}: the working directory cannot be entered in the container: {why}: show it with --bind, or start in another with --pwd (in Slurm: --condatainer-bind, --condatainer-workdir)",
        path.display()
    )]
    Nowhere {
        /// The directory.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A file changed while the container was being set up.
    #[error("{}: {what} while the container was being started: start again", path.display())]
    Changed {
        /// The base or a layer.
        path: PathBuf,
        /// What changed.
        what: &'static str,
    },
    /// The last writer was killed, and the image could not be repaired.
    #[error(transparent)]
    Repair(#[from] AcquireError),
    /// The image for what `:tmp` layers write could not be made.
    #[error("an image for what :tmp layers write: {0}")]
    Scratch(#[source] CreateError),
    /// The system refused something that a start needs.
    #[error("{what}: {source}")]
    System {
        /// What was to be done.
        what: String,
        /// The system's reason.
        source: io::Error,
    },
}

impl RunError {
    /// What is waited for by who waits, where somebody else was faster.
    #[must_use]
    pub fn waits_for(&self) -> Option<String> {
        match self {
            Self::Refused(refusal) => refusal.waits_for(),
            Self::Repair(busy) => busy.waits_for(),
            // Another start, or a verb, had it in between.
            Self::Changed { path, what } => {
                Some(format!("{}: {what} while the container was being started: starting again", path.display()))
            }
            _ => None,
        }
    }
}

pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> RunError {
    let what = what.into();
    move |source| RunError::System { what, source }
}

/// Why a directory cannot be entered in a container.
pub(crate) fn why_nowhere(errno: i32) -> String {
    match errno {
        ANOTHER => "another directory is in its place".into(),
        ENOENT => "it is not there".into(),
        errno => Errno::from_raw(errno).desc().into(),
    }
}
