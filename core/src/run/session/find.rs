//! Finds sessions by the memory files of the processes that keep them.

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{Pid, geteuid};

use super::record::Record;
use condatainer_images::system::process::Process;

/// What /proc shows of the descriptor of a memory file of this name.
const MEMORY_FILE: &str = "/memfd:condatainer-session";

/// One that was found.
#[derive(Debug)]
pub(crate) struct Session {
    /// Where its memory file can be opened.
    pub(crate) file: PathBuf,
    pub(crate) record: Record,
}

/// All sessions of the caller on this machine.
pub(crate) fn sessions() -> impl Iterator<Item = Session> {
    Process::all().filter_map(|process| kept_by(&process))
}

/// The one that this process keeps. Another user's is not looked at, also by root.
pub(crate) fn kept_by(process: &Process) -> Option<Session> {
    let is_own = |process: &Process| process.owner() == Some(geteuid().as_raw());
    if process.name() != Process::this().name() || !is_own(process) {
        return None;
    }
    let descriptors = fs::read_dir(process.directory().join("fd")).ok()?.flatten().map(|entry| entry.path());
    let found = descriptors.filter(|path| leads_to_one(path)).find_map(|file| {
        let record = Record::read(&file)?;
        Some(Session { file, record })
    })?;
    // A process that it is just starting has the same descriptors until its exec, and one of root's may have inherited them from
    // whoever has started it.
    let first = Process::numbered(found.record.first);
    let is_its = is_own(&first) && first.ancestors().any(|ancestor| ancestor.pid() == process.pid());
    (is_its && Some(found.record.keeper) == process.pid().map(Pid::as_raw)).then_some(found)
}

fn leads_to_one(descriptor: &Path) -> bool {
    fs::read_link(descriptor).is_ok_and(|target| target.to_string_lossy().starts_with(MEMORY_FILE))
}
