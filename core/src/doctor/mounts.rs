//! Who mounts the layers of a start here: us or the engine, and why not us. It is tried, as a start does.

use std::path::{Path, PathBuf};

use crate::config::{Config, Mounts};
use crate::doctor::check::Check;
use crate::doctor::request::Asker;
use crate::machine::survey::{self, PROGRAM};
use condatainer_stack::namespace::trial::{self, Found};

const ID: &str = "mounts";

/// What is known.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    asked: Mounts,
    /// Where we mount.
    place: PathBuf,
    found: Found,
    /// The key that keeps the engine from taking a directory.
    forbidden: Option<String>,
}

pub(crate) fn read(config: &Config, asker: &Asker) -> Facts {
    let place = survey::place();
    Facts {
        asked: config.mounts(None),
        found: trial::can(Path::new(PROGRAM), &place, asker.is_root()),
        forbidden: survey::engine(config).ok().and_then(|engine| survey::no_directory(&engine)),
        place,
    }
}

pub(crate) fn judge(facts: &Facts) -> Check {
    let why_not = facts.found.fuse.clone().or(facts.forbidden.as_ref().map(|key| format!("{key} forbids it")));
    let own = format!("condatainer mounts what is only read, and :tmp, on {}", facts.place.display());
    match (facts.asked, why_not, facts.found.overlay.clone()) {
        (Mounts::Engine, None, None) => Check::ok(ID, "the engine mounts the layers; condatainer could do it here"),
        (Mounts::Engine, Some(why), _) | (Mounts::Engine, None, Some(why)) => {
            Check::ok(ID, format!("the engine mounts the layers; condatainer could not do it all here: {why}"))
        }
        (_, None, None) => Check::ok(ID, own),
        (Mounts::Auto, Some(why), _) => Check::warning(
            ID,
            format!("the engine mounts the layers: {why}"),
            "see the reason, or set mounts = \"engine\"",
        ),
        (Mounts::Own, Some(why), _) => Check::failed(
            ID,
            format!("condatainer must mount the layers and cannot: {why}"),
            "see the reason, or set mounts = \"auto\"",
        ),
        (_, None, Some(why)) => {
            Check::warning(ID, format!("{own}, but not :tmp: {why}"), "as root: modprobe overlay; Linux 5.11 or later")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Status;

    #[test]
    fn what_is_missing_counts_as_it_was_asked_for() {
        let of = |asked, fuse: Option<&str>, overlay: Option<&str>, forbidden: Option<&str>| {
            let found = Found { fuse: fuse.map(Into::into), overlay: overlay.map(Into::into) };
            judge(&Facts { asked, place: "/p".into(), found, forbidden: forbidden.map(Into::into) })
        };
        assert_eq!(of(Mounts::Own, None, None, None).found, "condatainer mounts what is only read, and :tmp, on /p");
        for (asked, status) in
            [(Mounts::Engine, Status::Ok), (Mounts::Auto, Status::Warning), (Mounts::Own, Status::Failed)]
        {
            let check = of(asked, Some("no /dev/fuse"), None, None);
            assert!(check.status == status && check.found.ends_with(": no /dev/fuse"), "{check:?}");
            assert_eq!(of(asked, None, None, Some("'x = no'")).status, status);
        }
        let check = of(Mounts::Own, None, Some("no overlay"), None);
        assert!(check.status == Status::Warning && check.found.ends_with("but not :tmp: no overlay"), "{check:?}");
    }
}
