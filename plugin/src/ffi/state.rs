//! What one Slurm process remembers between callbacks: its settings and the options it was given.
//!
//! Slurm calls a plugin from one thread; the locks only make that safe to say.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use condatainer_core::step::lost_writes::Written;

use super::keeper::Channel;
use crate::given::Given;
use crate::node::Seen;
use condatainer_core::step::plugin_arguments::PluginArguments;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// plugstack.conf's arguments, or what is wrong with them.
    pub(crate) settings: Option<Result<PluginArguments, String>>,
    /// Options, while a command line is being read.
    pub(crate) given: Given,
    /// What the last component of a heterogeneous job asked for.
    pub(crate) submitted: Option<Given>,
    /// In srun: the images that its step writes.
    pub(crate) images: Vec<PathBuf>,
    /// The same as they were before the step.
    pub(crate) written: Vec<Written>,
    /// Options that were forwarded to the node.
    pub(crate) seen: Seen,
    /// In slurmstepd: the way to the keeper of the step's container.
    pub(crate) channel: Option<Channel>,
    /// Tasks of this node that have ended.
    pub(crate) ended_tasks: u32,
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

/// Runs `work` on the state. A panic elsewhere does not make it unusable: every field is replaced as a whole.
pub(crate) fn with<T>(work: impl FnOnce(&mut State) -> T) -> T {
    let mut guard: MutexGuard<'_, Option<State>> = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    work(guard.get_or_insert_default())
}
