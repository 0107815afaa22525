//! A place where images lie: whether its file system has the locks that keep writers apart, and how far they reach.

mod facts;
mod read;
pub(super) mod system;
#[cfg(test)]
mod tests;

use crate::doctor::check::Check;
use crate::doctor::check::about;
use facts::{Facts, Lock, Trial};

pub(crate) use read::read;

const ID: &str = "locks";

pub(crate) fn judge(facts: &Facts) -> Check {
    let path = facts.path.display();
    if let Some(why) = &facts.problem {
        return Check::failed(ID, about(&facts.path, why), "name a directory or an image that is there");
    }
    let kind = facts.system.as_ref().map_or("an unknown file system", |system| system.kind.as_str());
    let image = facts.image.as_ref().map(|(kind, _)| *kind);
    let found = format!("{path}: {}{kind}", image.map(|image| format!("{image} image on ")).unwrap_or_default());
    match (&facts.trial, facts.image.as_ref().map(|(_, lock)| lock)) {
        (Trial::Unsupported(why), _) | (_, Some(Lock::Unsupported(why))) => Check::warning(
            ID,
            format!("{found}: there are no locks ({why}): two writers would damage an image"),
            without_locks(kind),
        ),
        (Trial::Unseen, _) => Check::failed(
            ID,
            format!("{found}: a lock is given to everybody: two writers would damage an image"),
            "keep images on another file system",
        ),
        (Trial::NoFile(why), None | Some(Lock::None)) => Check::skipped(ID, format!("{found}: locks not tried: {why}")),
        (_, lock) => reach(facts, &found, lock),
    }
}

/// Locks are there; this is about other nodes.
fn reach(facts: &Facts, found: &str, lock: Option<&Lock>) -> Check {
    let state = match lock {
        Some(Lock::Held) => ", in use",
        _ => "",
    };
    let Some(system) = facts.system.as_ref().filter(|system| system.is_of_network()) else {
        return Check::ok(ID, format!("{found}: locks work{state}"));
    };
    if let Some(option) = system.keeps_locks_local() {
        return Check::warning(
            ID,
            format!(
                "{found}: mounted with {option}: locks hold on this node only, two nodes can write to one image{state}"
            ),
            without_locks(&system.kind),
        );
    }
    let found = format!("{found}: locks work on this node{state}; one node cannot see whether they reach others");
    Check::ok(ID, found).and(two_nodes(facts))
}

/// The two commands that show it.
fn two_nodes(facts: &Facts) -> String {
    let image = match &facts.image {
        Some((_, Lock::Free | Lock::Held)) => facts.path.clone(),
        Some(_) => facts.path.with_file_name("locks.img"),
        None => facts.path.join("locks.img"),
    };
    let make = if image == facts.path { String::new() } else { format!("condatainer o -s 64M {}; ", image.display()) };
    format!(
        "on one node: {make}condatainer exec -w -o {0} sleep 60; meanwhile on another: condatainer overlay info {0}, which must not say 'locked by nobody'",
        image.display()
    )
}

fn without_locks(kind: &str) -> &'static str {
    match kind {
        "lustre" => "as root: mount Lustre with the option flock; until then one writer at a time is the users' affair",
        "nfs" | "nfs4" => {
            "as root: mount without nolock and local_lock; until then one writer at a time is the users' affair"
        }
        _ => "keep images that are written to on another file system, or see to it that there is one writer",
    }
}
