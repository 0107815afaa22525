//! Which ids become which: the rule of a chown, as a pure function from old ids to new ones.

use std::collections::BTreeSet;

use super::request::Request;
use condatainer_formats::ext::Ids;

/// The ids that move.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Moved {
    All,
    Only(BTreeSet<u32>),
}

impl Moved {
    fn contains(&self, id: u32) -> bool {
        match self {
            Self::All => true,
            Self::Only(ids) => ids.contains(&id),
        }
    }
}

/// A rule for owners and, independently, one for groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mapping {
    target: Ids,
    uids: Moved,
    gids: Moved,
}

impl Mapping {
    /// The rule of `request` for an image whose `upper` belongs to `upper`.
    pub(super) fn new(request: &Request, upper: Ids) -> Self {
        let from = |of: fn(&Ids) -> u32| match &request.from {
            Some(from) => Moved::Only([of(from)].into()),
            None => Moved::Only([of(&upper), 0, of(&request.user)].into()),
        };
        let uids = if request.all { Moved::All } else { from(|ids| ids.uid) };
        let gids = if request.all || request.groups { Moved::All } else { from(|ids| ids.gid) };
        Self { target: request.target, uids, gids }
    }

    pub(crate) fn target(&self) -> Ids {
        self.target
    }

    /// What `old` becomes.
    pub(crate) fn apply(&self, old: Ids) -> Ids {
        Ids {
            uid: if self.uids.contains(old.uid) { self.target.uid } else { old.uid },
            gid: if self.gids.contains(old.gid) { self.target.gid } else { old.gid },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: Ids = Ids { uid: 1000, gid: 100 };

    fn ids(uid: u32, gid: u32) -> Ids {
        Ids { uid, gid }
    }

    #[test]
    fn other_users_survive() {
        let mapping = Mapping::new(&Request::new(Ids::ROOT, USER), USER);
        assert_eq!(mapping.apply(USER), Ids::ROOT);
        assert_eq!(mapping.apply(ids(42, 100)), ids(42, 0));
        assert_eq!(mapping.apply(ids(1000, 8)), ids(0, 8));
        assert_eq!(mapping.apply(ids(6, 12)), ids(6, 12));
    }

    #[test]
    fn mixed_use_is_gathered_although_upper_is_right_already() {
        let mapping = Mapping::new(&Request::new(USER, USER), USER);
        assert_eq!(mapping.apply(Ids::ROOT), USER);
    }

    #[test]
    fn an_upper_of_somebody_else_moves_too() {
        let mapping = Mapping::new(&Request::new(USER, USER), ids(2000, 200));
        assert_eq!(mapping.apply(ids(2000, 200)), USER);
        assert_eq!(mapping.apply(ids(0, 200)), USER);
    }

    #[test]
    fn from_replaces_the_set() {
        let request = Request { from: Some(ids(7, 8)), ..Request::new(USER, USER) };
        let mapping = Mapping::new(&request, Ids::ROOT);
        assert_eq!(mapping.apply(ids(7, 8)), USER);
        assert_eq!(mapping.apply(Ids::ROOT), Ids::ROOT);
    }

    #[test]
    fn all_flattens_and_groups_flattens_groups() {
        let all = Mapping::new(&Request { all: true, ..Request::new(USER, USER) }, USER);
        assert_eq!(all.apply(ids(5, 6)), USER);
        let groups = Mapping::new(&Request { groups: true, ..Request::new(USER, USER) }, USER);
        assert_eq!(groups.apply(ids(5, 6)), ids(5, 100));
    }
}
