//! Whose a file is shown to be, and which of its attributes are shown: what a user namespace can make sense of.
//!
//! A user namespace maps some ids. A file of any other id could not be written, and not even deleted (`EOVERFLOW`), so it is shown as
//! somebody's whom the namespace knows. The image keeps what it says.

use std::ops::RangeInclusive;

use condatainer_formats::ext::Ids;

/// Who is shown as the owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Show {
    /// Everything is the user's: the namespace maps nobody else.
    Plain(Ids),
    /// Ids in these ranges as on disk, all others as root's.
    Mapped {
        /// Of users, as they are inside.
        uids: Vec<RangeInclusive<u32>>,
        /// Of groups, as they are inside.
        gids: Vec<RangeInclusive<u32>>,
    },
}

impl Show {
    /// All ids as on disk: for root, who needs no namespace.
    #[must_use]
    pub fn everything() -> Self {
        Self::Mapped { uids: vec![0..=u32::MAX - 1], gids: vec![0..=u32::MAX - 1] }
    }

    /// The ids that are shown instead of these.
    #[must_use]
    pub fn ids(&self, on_disk: Ids) -> Ids {
        let known = |ranges: &[RangeInclusive<u32>], id: u32| ranges.iter().any(|range| range.contains(&id));
        match self {
            Self::Plain(user) => *user,
            Self::Mapped { uids, gids } => Ids {
                uid: if known(uids, on_disk.uid) { on_disk.uid } else { 0 },
                gid: if known(gids, on_disk.gid) { on_disk.gid } else { 0 },
            },
        }
    }

    /// Whether an attribute is shown. `trusted.` ones never are, since a namespace's root may not read what is listed for him. In plain mode
    /// nobody may set the ones of the system: a list of access rights names users that do not exist there, and the kernel's overlay fails to
    /// copy a file with a capability.
    #[must_use]
    pub fn shows_xattr(&self, name: &[u8]) -> bool {
        let hidden: &[&[u8]] = match self {
            Self::Plain(_) => &[b"trusted.", b"security.", b"system."],
            Self::Mapped { .. } => &[b"trusted."],
        };
        !hidden.iter().any(|prefix| name.starts_with(prefix))
    }

    /// Whether lists of access rights are shown, so that the kernel has to obey them.
    #[must_use]
    pub fn shows_acls(&self) -> bool {
        self.shows_xattr(b"system.posix_acl_access")
    }

    /// A list of access rights (`system.posix_acl_*`, as getxattr(2) gives it) with the ids that are shown.
    pub(crate) fn translate_acl(&self, acl: &mut [u8]) {
        // A header of 4 bytes; then entries of tag (2), rights (2) and id (4), of which named users and groups have one.
        for entry in acl.get_mut(4..).unwrap_or_default().chunks_exact_mut(8) {
            let [tag, _, _, _, id @ ..] = entry else { continue };
            let Ok(on_disk) = <[u8; 4]>::try_from(&*id).map(u32::from_le_bytes) else { continue };
            let shown = self.ids(Ids { uid: on_disk, gid: on_disk });
            match *tag {
                0x02 => id.copy_from_slice(&shown.uid.to_le_bytes()),
                0x08 => id.copy_from_slice(&shown.gid.to_le_bytes()),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_nobody_maps_are_somebodys() {
        let of = |uid, gid| Ids { uid, gid };
        let plain = Show::Plain(of(1000, 100));
        assert_eq!([plain.ids(Ids::ROOT), plain.ids(of(70_000, 3))], [of(1000, 100); 2]);
        let mapped = Show::Mapped { uids: vec![0..=65_536], gids: vec![0..=0, 5..=9] };
        assert_eq!(mapped.ids(of(42, 7)), of(42, 7));
        assert_eq!(mapped.ids(of(65_537, 10)), of(0, 0));
        assert_eq!(Show::everything().ids(of(4_000_000_000, 1)), of(4_000_000_000, 1));
    }

    #[test]
    fn attributes_of_the_system_are_for_a_range() {
        let (plain, mapped) = (Show::Plain(Ids::ROOT), Show::everything());
        for (name, in_plain, in_mapped) in [
            (&b"user.note"[..], true, true),
            (b"trusted.some", false, false),
            (b"security.capability", false, true),
            (b"system.posix_acl_access", false, true),
        ] {
            assert_eq!((plain.shows_xattr(name), mapped.shows_xattr(name)), (in_plain, in_mapped));
        }
    }

    #[test]
    fn a_list_of_access_rights_names_ids_that_are_mapped() {
        let entry = |tag: u16, id: u32| [&tag.to_le_bytes()[..], &7_u16.to_le_bytes(), &id.to_le_bytes()].concat();
        let list = |ids: [u32; 3]| {
            [vec![2, 0, 0, 0], entry(1, u32::MAX), entry(2, ids[0]), entry(2, ids[1]), entry(8, ids[2])].concat()
        };
        let mut acl = list([5, 7000, 12]);
        let show = Show::Mapped { uids: vec![0..=10], gids: vec![0..=10] };
        show.translate_acl(&mut acl);
        assert_eq!(acl, list([5, 0, 0]));
        show.translate_acl(&mut [1, 2, 3]);
    }
}
