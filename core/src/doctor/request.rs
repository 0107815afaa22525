//! What is to be examined, and for whom.

use std::collections::HashMap;
use std::path::PathBuf;

use condatainer_images::system::user::Caller;

/// What is to be examined, and for whom.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Directories and images whose file systems must have locks, absolute.
    pub places: Vec<PathBuf>,
    /// Only what is the machine's and not the caller's, as a health check of a node wants it.
    pub node: bool,
    /// Checks that do not count, by id.
    pub skip: Vec<String>,
    /// Also start a container.
    pub start: bool,
    /// The caller's variables.
    pub env: HashMap<String, String>,
}

/// Who asks, as far as verdicts depend on it.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub(crate) caller: Caller,
    /// What belongs to a user is left out.
    pub(crate) node: bool,
}

impl Asker {
    /// What root can do says nothing about what users can.
    pub(crate) fn is_root(&self) -> bool {
        self.caller.uid == 0
    }

    /// Whether this is about one user: root starts no containers for himself.
    pub(crate) fn is_user(&self) -> bool {
        !self.is_root() && !self.node
    }
}
