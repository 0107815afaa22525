//! The containers of this machine that can be joined, of steps and of sessions. They are found by their keepers: nothing else tells
//! of them, so nothing is left of them either.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::geteuid;
use serde::Serialize;

use crate::machine::variables::variables_of;
use crate::request::layer::Layer;
use crate::request::{Request, VARIABLE};
use crate::run::session::{self, Session};
use condatainer_images::system::process::Process;
use condatainer_images::trust::name_of;
use condatainer_programs::command::Variables;

/// The arguments of a keeper begin with a program and this.
const VERB: &str = "keep";
/// How a shim is called: by a descriptor.
const SHIM: &[u8] = b"/proc/self/fd/";

/// One container, as `ps --json` promises it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunningContainer {
    /// Whether it is one that `e`, `exec` or `run` has started, and not that of a step.
    pub session: bool,
    /// Its job, if it is in one; unknown where the keeper's variables may not be read.
    pub job: Option<String>,
    /// The step: a number, or `batch`.
    pub step: Option<String>,
    /// Whose it is.
    pub user: String,
    /// The process that keeps it.
    pub keeper: i32,
    /// The first process in it; none while it is being started.
    pub first: Option<i32>,
    /// What runs in there.
    pub processes: Vec<i32>,
    /// The layers that were asked for.
    pub layers: Vec<String>,
    #[serde(skip)]
    uid: u32,
    /// Device and inode of each layer that is there.
    #[serde(skip)]
    identities: Vec<(u64, u64)>,
}

impl RunningContainer {
    /// `JOB.STEP`, or the number of the process that keeps a session.
    #[must_use]
    pub fn name(&self) -> String {
        if self.session {
            return self.keeper.to_string();
        }
        let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "?".into());
        format!("{}.{}", part(&self.job), part(&self.step))
    }
}

impl RunningContainer {
    /// Whether it is the caller's.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.uid == geteuid().as_raw()
    }

    /// Whether the file at this path is among its layers.
    #[must_use]
    pub fn has(&self, image: &Path) -> bool {
        identity(image).is_some_and(|image| self.identities.contains(&image))
    }
}

/// All containers of steps on this node, and the caller's own sessions; of other users' steps only what everybody may see.
#[must_use]
pub fn all() -> Vec<RunningContainer> {
    let processes: Vec<i32> = Process::all().filter_map(|process| Some(process.pid()?.as_raw())).collect();
    let steps = processes.iter().filter_map(|pid| described(*pid, &processes));
    let sessions = session::sessions().map(|session| of_session(session, &processes));
    let mut all: Vec<RunningContainer> = steps.chain(sessions).collect();
    all.sort_by_key(|one| one.keeper);
    all
}

fn of_session(session: Session, all: &[i32]) -> RunningContainer {
    let record = session.record;
    let variables = variables_of(&Process::numbered(record.keeper)).unwrap_or_default();
    let is_inside = |pid: &&i32| Process::numbered(**pid).namespace_name("mnt").as_ref() == Some(&record.namespace);
    RunningContainer {
        session: true,
        job: variable(&variables, "SLURM_JOB_ID"),
        step: variable(&variables, "SLURM_STEP_ID"),
        user: name_of(geteuid().as_raw()),
        uid: geteuid().as_raw(),
        keeper: record.keeper,
        first: Some(record.first),
        processes: all.iter().filter(is_inside).copied().collect(),
        layers: record.layers,
        identities: record.identities,
    }
}

fn variable(variables: &Variables, name: &str) -> Option<String> {
    variables.get(name.as_bytes()).and_then(|value| String::from_utf8(value.clone()).ok())
}

/// Whose a process is; `None` where there is none of this number, or one of several users.
#[must_use]
pub fn owner_of(pid: i32) -> Option<u32> {
    Process::numbered(pid).owner()
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).map(|found| (found.dev(), found.ino())).ok()
}

fn described(pid: i32, all: &[i32]) -> Option<RunningContainer> {
    let keeper = Process::numbered(pid);
    let arguments = keeper.arguments().ok()?;
    let part = arguments.get(2).filter(|_| arguments.get(1).is_some_and(|verb| verb == VERB))?.to_str()?;
    let part = part.strip_prefix("--part=")?;
    let uid = keeper.owner()?;
    let variables = variables_of(&keeper).unwrap_or_default();
    let variable = |name: &str| variable(&variables, name);
    let is_same = |first: &i32| Process::numbered(*first).owner() == Some(uid);
    let first = all.iter().copied().find(|first| is_first_of(*first, pid)).filter(is_same);
    // Other users' are not shown.
    let namespace = first.and_then(|first| Process::numbered(first).namespace_name("mnt"));
    let inside = |pid: &i32| {
        namespace.is_some() && first != Some(*pid) && Process::numbered(*pid).namespace_name("mnt") == namespace
    };
    let request = variable(VARIABLE).and_then(|text| Request::decode(&text).ok()).unwrap_or_default();
    Some(RunningContainer {
        session: false,
        job: variable("SLURM_JOB_ID"),
        step: if part == "batch" { Some(part.into()) } else { variable("SLURM_STEP_ID") },
        user: name_of(uid),
        uid,
        keeper: pid,
        first,
        processes: all.iter().copied().filter(inside).collect(),
        layers: request.layers.iter().map(Layer::to_string).collect(),
        identities: request.layers.iter().filter_map(|layer| identity(&layer.path)).collect(),
    })
}

/// Whether this process is a shim whose engine the keeper has started.
fn is_first_of(pid: i32, keeper: i32) -> bool {
    let words = Process::numbered(pid).arguments().unwrap_or_default();
    let is_shim = words.first().is_some_and(|word| word.as_bytes().starts_with(SHIM));
    is_shim && Process::numbered(pid).ancestors().any(|ancestor| ancestor == Process::numbered(keeper))
}
