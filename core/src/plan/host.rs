//! Directories of the host that a container shows unasked: those that variables such as `$TMPDIR` name, and the site's. Pure.
//!
//! What the engine shows anyway is not shown once more: a second mount would make a move between the two a copy.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::plan::directory::{Place, is_the_containers};
use crate::request::bind::Bind;

/// Where fakeroot shows the home directory.
pub(crate) const ROOTS_HOME: &str = "/root";

/// What there is to be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Host {
    /// Directories that are to be seen in every container.
    pub offers: Vec<Offer>,
    /// What the engine shows by itself, the sources without links.
    pub shown: Vec<Bind>,
    /// The home directory that it shows, in the same way.
    pub home: Option<Bind>,
    /// Whether it shows the working directory.
    pub shows_place: bool,
}

/// A directory that exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Offer {
    /// As it is written.
    #[serde(serialize_with = "condatainer_images::system::shown::path")]
    pub written: PathBuf,
    /// Without links.
    #[serde(serialize_with = "condatainer_images::system::shown::path")]
    pub path: PathBuf,
}

/// Says that the variable is not passed on.
pub(crate) fn no_tmpdir(dir: impl Into<PathBuf>) -> String {
    let dir = dir.into();
    format!("TMPDIR is left out: {0} is not in the container; --bind {0} shows it", dir.display())
}

impl Host {
    /// The binds for what is not shown yet: `asked` are those of the user.
    pub(crate) fn binds(&self, asked: &[Bind], place: &Place, is_root_inside: bool) -> Vec<Bind> {
        let mut shown = self.shown.clone();
        shown.extend(self.home.clone().map(|home| match is_root_inside {
            true => Bind { destination: ROOTS_HOME.into(), ..home },
            false => home,
        }));
        if self.shows_place && !is_the_containers(&place.path) {
            shown.push(same(&place.path));
        }
        let is_taken = |path: &Path| asked.iter().any(|bind| bind.destination == path);
        let mut added = Vec::new();
        // A directory shows those below it.
        let mut offers: Vec<&Offer> = self.offers.iter().collect();
        offers.sort_by_key(|offer| offer.path.components().count());
        for offer in offers {
            if let Some(bind) = bind(offer, &shown).filter(|bind| !is_taken(&bind.destination)) {
                shown.push(bind.clone());
                added.push(bind);
            }
        }
        added
    }
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

fn same(path: &Path) -> Bind {
    Bind { source: path.into(), destination: path.into(), read_only: false }
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
