//! Who mounts the layers of a start here: us or the engine, and why not us. It is tried, as a start does. And where what `:tmp` writes is kept.

mod scratch;

use crate::config::{Config, Mounts};
use crate::doctor::check::Check;
use crate::doctor::request::Asker;
use crate::machine::facts::{MountFacts, ScratchFacts};
use crate::machine::survey;
use crate::request::Request;

const ID: &str = "mounts";

/// Both.
#[derive(Debug)]
pub(crate) struct Facts {
    mounts: MountFacts,
    scratch: ScratchFacts,
}

pub(crate) fn read(config: &Config, asker: &Asker) -> Facts {
    // Where there is none, another check says so.
    let engine = survey::engine(config).ok();
    Facts {
        mounts: survey::mounts_as(config.mounts(None), asker.is_root(), engine.as_ref()),
        scratch: survey::scratch(config, &Request::default()),
    }
}

pub(crate) fn judge(facts: &Facts) -> Vec<Check> {
    vec![mounts(&facts.mounts), scratch::judge(&facts.scratch, &facts.mounts)]
}

fn mounts(mounts: &MountFacts) -> Check {
    let own = format!("condatainer mounts the layers on {}", mounts.place.display());
    match (mounts.asked, mounts.obstacle(), mounts.no_overlay.clone()) {
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
        (_, None, Some(why)) => Check::warning(
            ID,
            format!("{own}, but not what :tmp writes to: {why}"),
            "see the reason, or set mounts = \"engine\"",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Status;

    #[test]
    fn what_is_missing_counts_as_it_was_asked_for() {
        let facts = |asked, fuse: Option<&str>, overlay: Option<&str>, forbidden: Option<&str>| MountFacts {
            asked,
            origin: None,
            place: "/p".into(),
            why_not: fuse.map(Into::into),
            no_overlay: overlay.map(Into::into),
            no_directory: forbidden.map(Into::into),
            subordinate: None,
        };
        let of = |asked, fuse, overlay, forbidden| mounts(&facts(asked, fuse, overlay, forbidden));
        assert_eq!(of(Mounts::Own, None, None, None).found, "condatainer mounts the layers on /p");
        for (asked, status) in
            [(Mounts::Engine, Status::Ok), (Mounts::Auto, Status::Warning), (Mounts::Own, Status::Failed)]
        {
            let check = of(asked, Some("no /dev/fuse"), None, None);
            assert!(check.status == status && check.found.ends_with(": no /dev/fuse"), "{check:?}");
            assert_eq!(of(asked, None, None, Some("'x = no'")).status, status);
        }
        let check = of(Mounts::Own, None, Some("no overlay"), None);
        assert!(
            check.status == Status::Warning && check.found.ends_with("but not what :tmp writes to: no overlay"),
            "{check:?}"
        );
    }
}
