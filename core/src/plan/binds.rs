//! The directories of the host that are bound: those that were asked for, and unasked those that variables such as `$TMPDIR` name, and
//! the site's. Pure.
//!
//! What the engine shows anyway is not shown once more: a second mount would make a move between the two a copy.

use std::path::{Path, PathBuf};

use crate::machine::directories::{HostDirectories, Offer, WorkingDirectory};
use crate::plan::working_directory::is_the_containers;
use crate::request::bind::Bind;

/// Where fakeroot shows the home directory.
pub(crate) const ROOTS_HOME: &str = "/root";

/// Says that the variable is not passed on.
pub(crate) fn no_tmpdir(dir: impl Into<PathBuf>) -> String {
    let dir = dir.into();
    format!("TMPDIR is left out: {0} is not in the container; --bind {0} shows it", dir.display())
}

/// Those of the user, and of what else is offered what is not shown yet.
pub(crate) fn all(
    asked: &[Bind],
    host: &HostDirectories,
    current: &WorkingDirectory,
    is_root_inside: bool,
) -> Vec<Bind> {
    let mut shown = host.shown.clone();
    shown.extend(host.home.clone().map(|home| match is_root_inside {
        true => Bind { destination: ROOTS_HOME.into(), ..home },
        false => home,
    }));
    if host.shows_working_directory && !is_the_containers(&current.path) {
        shown.push(Bind { source: current.path.clone(), destination: current.path.clone(), read_only: false });
    }
    let is_taken = |path: &Path| asked.iter().any(|bind| bind.destination == path);
    let mut binds = asked.to_vec();
    // A directory shows those below it.
    let mut offers: Vec<&Offer> = host.offers.iter().collect();
    offers.sort_by_key(|offer| offer.path.components().count());
    for offer in offers {
        if let Some(bind) = bind(offer, &shown).filter(|bind| !is_taken(&bind.destination)) {
            shown.push(bind.clone());
            binds.push(bind);
        }
    }
    binds
}

/// By the path as it is written. Where that leads through a link in what is shown already, by the one that it leads to.
fn bind(offer: &Offer, shown: &[Bind]) -> Option<Bind> {
    let leads_into = |bind: &&Bind| offer.written.starts_with(&bind.destination);
    let destination = match shown.iter().find(leads_into) {
        Some(_) => &offer.path,
        None => &offer.written,
    };
    let leads_to_it = |path: PathBuf| path == *destination || path == offer.written;
    let is_shown = shown.iter().any(|bind| place_in(bind, &offer.path).is_some_and(leads_to_it));
    (!is_shown && !is_the_containers(destination)).then(|| Bind {
        source: offer.path.clone(),
        destination: destination.clone(),
        read_only: false,
    })
}

/// Where a bind shows a path.
fn place_in(bind: &Bind, path: &Path) -> Option<PathBuf> {
    // Not `join`: with nothing behind it, it adds a slash.
    let rest = path.strip_prefix(&bind.source).ok()?;
    Some(bind.destination.iter().chain(rest.iter()).collect())
}

#[cfg(test)]
#[path = "tests/binds.rs"]
mod tests;
