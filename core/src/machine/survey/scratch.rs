//! Where what `:tmp` layers write is kept, and the directory for that.

use std::collections::HashMap;
use std::path::PathBuf;

use super::memory;
use crate::config::{Config, Origin, Scratch};
use crate::machine::facts::ScratchFacts;
use crate::request::Request;
use condatainer_images::trust::tmpdir;

/// On disk or in memory, and how much there is of that.
pub(crate) fn look(config: &Config, request: &Request) -> ScratchFacts {
    let asked = config.scratch(request.scratch);
    let origin = if request.scratch == Some(asked) { None } else { config.origin_of_scratch(asked) };
    ScratchFacts { asked, origin, memory: if asked == Scratch::Disk { 0 } else { memory::allowed() } }
}

/// The directory for what `:tmp` layers write; where it cannot be used, the reason and what to do.
pub(crate) fn scratch_place(config: &Config, env: &HashMap<String, String>) -> (PathBuf, Option<(String, String)>) {
    let named = config.tmpdir();
    let of_variable = env.get("TMPDIR").map(PathBuf::from);
    let origin = match (&named, &of_variable) {
        (Some(named), _) => config.origin_of_tmpdir(named),
        (None, Some(_)) => Some(Origin::variable("TMPDIR")),
        (None, None) => None,
    };
    let tmpdir = named.or(of_variable).unwrap_or_else(|| "/tmp".into());
    let problem = tmpdir::fault(&tmpdir).map(|fault| {
        let other = tmpdir_cure(origin.as_ref());
        (fault.why, fault.cure.map_or_else(|| other.clone(), |cure| format!("{cure}; or {other}")))
    });
    (tmpdir, problem)
}

/// How another directory is named. TMPDIR counts only where no key is set.
fn tmpdir_cure(origin: Option<&Origin>) -> String {
    match origin {
        Some(origin) if origin.key != "TMPDIR" => origin.cure(", or set CONDATAINER_TMPDIR to another directory"),
        _ => "set tmpdir in the configuration, or TMPDIR".into(),
    }
}
