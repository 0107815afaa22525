//! Whose a file of the image is shown to be, and whose it is on disk.
//!
//! A user's own files and those of the image's root are the same person's: he made the ones without `--fakeroot`, the others with it. So both
//! are shown as his where he is himself, and as root's where he is root. Everybody else's ids stay, and are shown where the namespace has them.

use condatainer_formats::ext::Ids;

use crate::ids::Show;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owners {
    show: Show,
    /// The user, as the image has him.
    user: Ids,
    /// Whom he is inside: himself, or root.
    inside: Ids,
}

impl Owners {
    /// For a user whose files have the ids `user` on disk, and who is `inside` in the container.
    #[must_use]
    pub fn new(show: Show, user: Ids, inside: Ids) -> Self {
        Self { show, user, inside }
    }

    /// The ids that are shown instead of these.
    pub(super) fn shown(&self, on_disk: Ids) -> Ids {
        let shown = self.show.ids(on_disk);
        let is_own = |id: u32, user: u32| id == user || id == 0;
        Ids {
            uid: if is_own(on_disk.uid, self.user.uid) { self.inside.uid } else { shown.uid },
            gid: if is_own(on_disk.gid, self.user.gid) { self.inside.gid } else { shown.gid },
        }
    }

    /// The ids on disk of what gets these inside: root's files are root's, and the user's are his.
    pub(super) fn on_disk(&self, shown: Ids) -> Ids {
        shown
    }

    /// The ids on disk after chown(2) to these inside, of a file that has `before`. Who is given what he has already keeps what the disk says.
    pub(super) fn given(&self, before: Ids, uid: Option<u32>, gid: Option<u32>) -> (Option<u32>, Option<u32>) {
        let shown = self.shown(before);
        let to = self.on_disk(Ids { uid: uid.unwrap_or(shown.uid), gid: gid.unwrap_or(shown.gid) });
        (uid.filter(|uid| *uid != shown.uid).map(|_| to.uid), gid.filter(|gid| *gid != shown.gid).map(|_| to.gid))
    }

    /// The id that is shown instead of one that an access control list names; nothing for somebody who does not exist there.
    pub(super) fn named(&self, is_group: bool, id: u32) -> Option<u32> {
        let of = |ids: Ids| if is_group { ids.gid } else { ids.uid };
        let (user, inside) = (of(self.user), of(self.inside));
        match &self.show {
            _ if id == user || id == inside => Some(inside),
            Show::Plain(_) => None,
            Show::Mapped { uids, gids } => {
                let ranges = if is_group { gids } else { uids };
                ranges.iter().any(|range| range.contains(&id)).then_some(id)
            }
        }
    }

    pub(super) fn show(&self) -> &Show {
        &self.show
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ids(uid: u32, gid: u32) -> Ids {
        Ids { uid, gid }
    }

    #[test]
    fn the_user_and_root_are_one() {
        let own = ids(1000, 100);
        let plain = Owners::new(Show::Plain(own), own, own);
        for on_disk in [own, Ids::ROOT, ids(42, 42)] {
            assert_eq!(plain.shown(on_disk), own);
        }
        assert_eq!(plain.on_disk(own), own);
        let range = Show::Mapped { uids: vec![0..=65_536], gids: vec![0..=65_536] };
        let root = Owners::new(range, own, Ids::ROOT);
        assert_eq!([root.shown(own), root.shown(Ids::ROOT)], [Ids::ROOT; 2]);
        assert_eq!([root.shown(ids(42, 8)), root.shown(ids(70_000, 8))], [ids(42, 8), ids(0, 8)]);
        assert_eq!(root.on_disk(ids(42, 0)), ids(42, 0));
    }

    #[test]
    fn a_list_names_those_who_exist() {
        let own = ids(1000, 100);
        let plain = Owners::new(Show::Plain(own), own, own);
        assert_eq!([1000, 0, 33].map(|id| plain.named(false, id)), [Some(1000), None, None]);
        let root = Owners::new(Show::Mapped { uids: vec![0..=99], gids: vec![0..=9] }, own, Ids::ROOT);
        assert_eq!([1000, 0, 33, 100].map(|id| root.named(false, id)), [Some(0), Some(0), Some(33), None]);
        assert_eq!([100, 33].map(|id| root.named(true, id)), [Some(0), None]);
    }

    #[test]
    fn an_owner_that_does_not_change_stays_on_disk() {
        let own = ids(1000, 100);
        let root = Owners::new(Show::Mapped { uids: vec![0..=9], gids: vec![0..=9] }, own, Ids::ROOT);
        assert_eq!(root.given(own, Some(0), Some(0)), (None, None));
        assert_eq!(root.given(own, Some(5), None), (Some(5), None));
    }
}
