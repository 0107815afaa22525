//! Subordinate ids: the ranges of the caller, and the two programs that put them to use.

mod facts;
mod read;
#[cfg(test)]
mod tests;

use crate::doctor::check::Check;
use crate::doctor::request::Asker;
use condatainer_images::system::user::FULL_RANGE;
use facts::{Facts, Tool};

pub(crate) use read::read;

pub(crate) fn judge(facts: &Facts, asker: &Asker) -> Vec<Check> {
    vec![range(facts, asker), tools(facts, asker)]
}

fn range(facts: &Facts, asker: &Asker) -> Check {
    const ID: &str = "subuid";
    if !asker.is_user() {
        return Check::skipped(ID, "each user's own: ask as the user");
    }
    let name = &asker.caller.name;
    let (uids, gids) = facts.ranges;
    let file = match (uids < FULL_RANGE, gids < FULL_RANGE) {
        (false, false) => return Check::ok(ID, format!("{name} has {uids} ids, and {gids} of groups")),
        (true, true) => "/etc/subuid and /etc/subgid",
        (true, false) => "/etc/subuid",
        (false, true) => "/etc/subgid",
    };
    let has = uids.min(gids);
    let what = if has == 0 { "no range".into() } else { format!("{has} ids instead of {FULL_RANGE}") };
    Check::warning(
        ID,
        format!("{name} has {what} in {file}: fakeroot knows no id but root's, so that many packages do not install"),
        format!(
            "as root: usermod --add-subuids FIRST-LAST --add-subgids FIRST-LAST {name}, with {FULL_RANGE} ids that nobody else has"
        ),
    )
}

fn tools(facts: &Facts, asker: &Asker) -> Check {
    const ID: &str = "newuidmap";
    let has_range = facts.ranges.0 >= FULL_RANGE && facts.ranges.1 >= FULL_RANGE;
    let needed = if asker.is_user() { has_range } else { facts.anybody };
    let Some((found, cure)) = facts.tools.iter().find_map(fault) else {
        return Check::ok(ID, "newuidmap and newgidmap are installed, with their privileges");
    };
    if needed {
        Check::failed(ID, format!("{found}: fakeroot does not start"), cure)
    } else {
        Check::warning(ID, format!("{found} (nobody needs it before there are ranges)"), cure)
    }
}

fn fault(tool: &Tool) -> Option<(String, String)> {
    let name = tool.name;
    let Some(path) = &tool.path else {
        return Some((format!("{name} is not installed"), "install the package uidmap (shadow-utils)".into()));
    };
    let path = path.display();
    if tool.nosuid {
        let found = format!("{path} lies on a file system mounted nosuid, which takes its privileges away");
        return Some((found, "install it on another file system".into()));
    }
    let cure = format!("as root: chmod u+s {path} (it must belong to root)");
    (!tool.setuid && !tool.capabilities)
        .then(|| (format!("{path} is neither setuid root nor has file capabilities"), cure))
}
