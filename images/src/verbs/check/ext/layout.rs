//! `upper` and `work`: there, directories, and of one owner whom the caller can be.

use std::path::Path;

use crate::acquire::LockedImage;
use crate::system::fakeroot::usable_in_some_mode;
use crate::tools::programs;
use crate::verbs::check::error::CheckError;
use crate::verbs::check::finding::{Code, Finding, fix, force, quoted};
use crate::verbs::check::request::Request;
use crate::verbs::chown::{self, chown_locked, give_work};
use condatainer_formats::ext::{FileType, Found, Ids, Probe};

/// What is wrong with the two directories.
pub(crate) fn findings(path: &Path, probe: &Probe, request: &Request) -> Vec<Finding> {
    let upper =
        entry(path, "upper", &probe.upper, [Code::UpperMissing, Code::UpperNotDirectory, Code::UpperUnreadable]);
    let work = entry(path, "work", &probe.work, [Code::WorkMissing, Code::WorkNotDirectory, Code::WorkUnreadable]);
    [upper, work, upper_owner(path, probe, request), work_owner(path, probe)].into_iter().flatten().collect()
}

fn entry(path: &Path, name: &str, found: &Found, [missing, other, unreadable]: [Code; 3]) -> Option<Finding> {
    match found {
        Found::Directory(_) => None,
        Found::Missing => Some(Finding::error(missing, format!("there is no directory {name}/"), fix(path))),
        Found::Other(kind) => {
            let message = format!("{name} is {}, not a directory", kind.describe());
            Some(Finding::error(other, message, out_of_the_way(path, name, *kind)))
        }
        Found::Unreadable(why) => {
            Some(Finding::error(unreadable, format!("{name}/ cannot be looked up: {why}"), force(path)))
        }
    }
}

/// Nothing is deleted for the user: it may be all that is left of his work.
fn out_of_the_way(path: &Path, name: &str, kind: FileType) -> String {
    let (image, fix) = (quoted(path), fix(path));
    let save = match kind {
        FileType::Regular => format!("save it (debugfs -R 'dump /{name} {name}.saved' {image}), "),
        _ => String::new(),
    };
    format!("{save}remove it (debugfs -w -R 'rm /{name}' {image}) while nobody uses the image, then {fix}")
}

fn upper_owner(path: &Path, probe: &Probe, request: &Request) -> Option<Finding> {
    let owner = probe.upper.owner()?.ids();
    let caller = &request.caller;
    let newuidmap = programs::find("newuidmap").is_some() && programs::find("newgidmap").is_some();
    if usable_in_some_mode(owner, caller, newuidmap) {
        return None;
    }
    let message = format!(
        "upper belongs to {owner}, and you ({}:{}) cannot write as that user in any mode",
        caller.uid, caller.gid
    );
    Some(Finding::error(Code::UpperOwner, message, format!("condatainer overlay chown {}", quoted(path))))
}

fn work_owner(path: &Path, probe: &Probe) -> Option<Finding> {
    let (upper, work) = (probe.upper.owner()?.ids(), probe.work.owner()?.ids());
    let message = || format!("work belongs to {work} and upper to {upper}: an overlay needs one owner for both");
    (upper != work).then(|| Finding::error(Code::WorkOwner, message(), fix(path)))
}

/// The directories that [`make`] would make, and the owner they get: that of the other one, else the caller.
pub(crate) fn missing(probe: &Probe, request: &Request) -> Vec<(&'static str, Ids)> {
    let owner = probe.upper.owner().or(probe.work.owner());
    let owner = owner.map_or(Ids { uid: request.caller.uid, gid: request.caller.gid }, |owner| owner.ids());
    let entries = [("upper", &probe.upper), ("work", &probe.work)].into_iter();
    entries.filter(|(_, found)| **found == Found::Missing).map(|(name, _)| (name, owner)).collect()
}

/// Makes one directory in the root of a copy. debugfs says "done" whatever happened: the caller looks at the result.
pub(crate) fn make(draft: &LockedImage, name: &str, owner: Ids) -> Result<(), CheckError> {
    let Ids { uid, gid } = owner;
    let requests = [format!("mkdir {name}"), format!("sif {name} uid {uid}"), format!("sif {name} gid {gid}")];
    requests.iter().try_for_each(|request| debugfs(draft, request))
}

fn debugfs(draft: &LockedImage, request: &str) -> Result<(), CheckError> {
    let tool = |error| CheckError::tool(&draft.image.path, error);
    let mut command = draft.tool("debugfs").map_err(tool)?;
    command.args(["-w", "-R", request]).arg(draft.tools_name()).run(0).map(drop).map_err(tool)
}

/// Puts owners right, in place: both ways can be cut off and done again. An image whose file belongs to somebody else may be
/// right for him, so that its `upper` is left alone.
pub(crate) fn give(locked: &LockedImage, probe: &Probe, request: &Request) -> Result<(), CheckError> {
    let path = &locked.image.path;
    if work_owner(path, probe).is_some() {
        give_work(locked)?;
    }
    if upper_owner(path, probe, request).is_some() && locked.image.uid == request.caller.uid {
        let caller = Ids { uid: request.caller.uid, gid: request.caller.gid };
        chown_locked(locked, &chown::Request::new(caller, caller), &mut |_, _| {})?;
    }
    Ok(())
}
