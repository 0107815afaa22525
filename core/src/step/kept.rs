//! The step containers of this node, found by their keepers: nothing else tells of them, so nothing is left of them either.

use std::os::unix::ffi::OsStrExt;

use nix::unistd::{Uid, User};
use serde::Serialize;

use crate::layer::Layer;
use crate::process::Process;
use crate::request::{Request, VARIABLE};

/// The arguments of a keeper begin with a program and this.
const VERB: &str = "keep";
/// How a shim is called: by a descriptor.
const SHIM: &[u8] = b"/proc/self/fd/";

/// One container, as `ps --json` promises it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Its job; unknown where the keeper's variables may not be read.
    pub job: Option<String>,
    /// The step: a number, or `batch`.
    pub step: Option<String>,
    /// Whose it is.
    pub user: String,
    /// The process that keeps it.
    pub keeper: i32,
    /// The first process in it; none while it is being started.
    pub first: Option<i32>,
    /// What the tasks run in there.
    pub processes: Vec<i32>,
    /// The layers that were asked for.
    pub layers: Vec<String>,
}

impl Kept {
    /// `JOB.STEP`.
    #[must_use]
    pub fn name(&self) -> String {
        let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "?".into());
        format!("{}.{}", part(&self.job), part(&self.step))
    }
}

/// All containers of this node; of other users' only what everybody may see.
#[must_use]
pub fn kept() -> Vec<Kept> {
    let processes: Vec<i32> = Process::all().filter_map(|process| Some(process.pid()?.as_raw())).collect();
    let mut kept: Vec<Kept> = processes.iter().filter_map(|pid| described(*pid, &processes)).collect();
    kept.sort_by_key(|kept| kept.keeper);
    kept
}

fn described(pid: i32, all: &[i32]) -> Option<Kept> {
    let keeper = Process::numbered(pid);
    let arguments = keeper.arguments().ok()?;
    let part = arguments.get(2).filter(|_| arguments.get(1).is_some_and(|verb| verb == VERB))?.to_str()?;
    let part = part.strip_prefix("--part=")?;
    let uid = keeper.owner()?;
    let variables = keeper.variables().unwrap_or_default();
    let variable = |name: &str| variables.get(name.as_bytes()).and_then(|value| String::from_utf8(value.clone()).ok());
    let is_same = |first: &i32| Process::numbered(*first).owner() == Some(uid);
    let first = all.iter().copied().find(|first| is_first_of(*first, pid)).filter(is_same);
    // Other users' are not shown.
    let namespace = first.and_then(|first| Process::numbered(first).namespace_name("mnt"));
    let inside = |pid: &i32| {
        namespace.is_some() && first != Some(*pid) && Process::numbered(*pid).namespace_name("mnt") == namespace
    };
    let request = variable(VARIABLE).and_then(|text| Request::decode(&text).ok()).unwrap_or_default();
    Some(Kept {
        job: variable("SLURM_JOB_ID"),
        step: if part == "batch" { Some(part.into()) } else { variable("SLURM_STEP_ID") },
        user: User::from_uid(Uid::from_raw(uid)).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name),
        keeper: pid,
        first,
        processes: all.iter().copied().filter(inside).collect(),
        layers: request.layers.iter().map(Layer::to_string).collect(),
    })
}

/// Whether this process is a shim whose engine the keeper has started.
fn is_first_of(pid: i32, keeper: i32) -> bool {
    let words = Process::numbered(pid).arguments().unwrap_or_default();
    let is_shim = words.first().is_some_and(|word| word.as_bytes().starts_with(SHIM));
    is_shim && Process::numbered(pid).ancestors().any(|ancestor| ancestor == Process::numbered(keeper))
}
