//! The ids of a container: how its user becomes root, and which owners exist in there.

use serde::Serialize;

use condatainer_formats::ext::Ids;

use super::user::Caller;

/// How the caller becomes root in the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fakeroot {
    /// The caller is root already.
    Root,
    /// A user namespace with the caller's subordinate ids.
    Subuid,
    /// A user namespace in which only root exists.
    RootMapped,
}

/// Largest id that Apptainer's subuid namespace maps besides the caller's own.
pub const LAST_MAPPED: u32 = 65_535;

/// Whether an owner (uid and gid) exists in the user namespace that this caller gets.
#[must_use]
pub fn maps(owner: (u32, u32), caller: (u32, u32), fakeroot: Option<Fakeroot>) -> bool {
    match fakeroot {
        Some(Fakeroot::Root) => true,
        Some(Fakeroot::Subuid) => owner == caller || (owner.0 <= LAST_MAPPED && owner.1 <= LAST_MAPPED),
        Some(Fakeroot::RootMapped) => owner == (0, 0),
        None => caller.0 == 0 || owner == caller,
    }
}

/// Whether the caller can write an image of this owner in plain mode or in the kind of fakeroot that there is for him;
/// `newuidmap` tells whether the tools for subordinate ids are installed.
#[must_use]
pub(crate) fn usable_in_some_mode(owner: Ids, caller: &Caller, newuidmap: bool) -> bool {
    let owner = (owner.uid, owner.gid);
    let fakeroot = match (caller.uid, caller.has_subids, newuidmap) {
        (0, _, _) => Some(Fakeroot::Root),
        (_, true, true) => Some(Fakeroot::Subuid),
        (_, true, false) => None,
        (_, false, _) => Some(Fakeroot::RootMapped),
    };
    let caller = (caller.uid, caller.gid);
    maps(owner, caller, None) || fakeroot.is_some_and(|fakeroot| maps(owner, caller, Some(fakeroot)))
}
