//! Access control lists, as far as a file system has to do with them: the kernel checks them, and we keep them and the mode in step.
//!
//! A list is kept in the form that getxattr(2) gives: a version, then entries of a tag, permissions and an id. See acl(5).

use nix::errno::Errno;

use crate::serve::tree::Answer;

/// The list that decides who may do what.
pub(crate) const ACCESS: &[u8] = b"system.posix_acl_access";
/// The list that what is made in a directory begins with.
pub(crate) const DEFAULT: &[u8] = b"system.posix_acl_default";

const VERSION: [u8; 4] = 2_u32.to_le_bytes();
const LEN: usize = 8;
const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// A list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acl(Vec<u8>);

impl Acl {
    /// From the value of an attribute.
    pub(crate) fn parse(value: &[u8]) -> Answer<Self> {
        let entries = value.strip_prefix(&VERSION).ok_or(Errno::EOPNOTSUPP)?;
        let acl = Self(value.to_vec());
        let complete = [USER_OBJ, GROUP_OBJ, OTHER].iter().all(|tag| acl.find(*tag).is_some());
        if entries.len() % LEN != 0 || !complete { Err(Errno::EINVAL) } else { Ok(acl) }
    }

    pub(crate) fn value(self) -> Vec<u8> {
        self.0
    }

    /// Whether it says no more than permission bits do.
    pub(crate) fn is_plain(&self) -> bool {
        self.0.len() == VERSION.len() + 3 * LEN
    }

    /// The permission bits that it stands for.
    pub(crate) fn mode(&self) -> u16 {
        let of = |tag| self.find(tag).map_or(0, |at| self.permissions(at));
        of(USER_OBJ) << 6 | of(self.class()) << 3 | of(OTHER)
    }

    /// The list with the ids that `shown` gives for those of named users and groups (`true` for a group), without those for whom it gives
    /// none: a namespace in which they do not exist could not use the list at all.
    pub(crate) fn shown(&self, shown: impl Fn(bool, u32) -> Option<u32>) -> Self {
        let mut value = VERSION.to_vec();
        for entry in self.entries() {
            match named(entry) {
                None => value.extend_from_slice(entry),
                Some((is_group, id)) => {
                    if let (Some(id), Some(start)) = (shown(is_group, id), entry.get(..4)) {
                        value.extend_from_slice(start);
                        value.extend(id.to_le_bytes());
                    }
                }
            }
        }
        Self(value)
    }

    /// The list with those of `old` besides whom nobody who has set it could see. One that says no more than permission bits takes them
    /// away, too.
    pub(crate) fn keeping(self, old: &Self, is_shown: impl Fn(bool, u32) -> bool) -> Self {
        if self.find(MASK).is_none() {
            return self;
        }
        let kept = |groups: bool| {
            let is_kept = |(is_group, id): (bool, u32)| is_group == groups && !is_shown(is_group, id);
            old.entries().filter(move |entry| named(entry).is_some_and(is_kept)).flatten().copied().collect::<Vec<_>>()
        };
        let mut value = VERSION.to_vec();
        for entry in self.entries() {
            match tag(entry) {
                GROUP_OBJ => value.extend(kept(false)),
                MASK => value.extend(kept(true)),
                _ => {}
            }
            value.extend_from_slice(entry);
        }
        Self(value)
    }

    fn entries(&self) -> impl Iterator<Item = &[u8]> {
        self.0.get(VERSION.len()..).unwrap_or_default().chunks_exact(LEN)
    }

    /// chmod(2) was called.
    pub(crate) fn set_mode(&mut self, mode: u16) {
        self.each(mode, |_, bits| bits);
    }

    /// The list of something that is made with `mode` where this is the directory's default, and the mode that results.
    pub(crate) fn inherited(mut self, mode: u16) -> (Self, u16) {
        self.each(mode, |permissions, bits| permissions & bits);
        let mode = mode & !0o777 | self.mode();
        (self, mode)
    }

    fn each(&mut self, mode: u16, change: impl Fn(u16, u16) -> u16) {
        for (tag, bits) in [(USER_OBJ, mode >> 6), (self.class(), mode >> 3), (OTHER, mode)] {
            if let Some(at) = self.find(tag) {
                let permissions = change(self.permissions(at), bits & 7);
                self.0[at + 2..at + 4].copy_from_slice(&permissions.to_le_bytes());
            }
        }
    }

    /// What the group's bits of a mode mean: the mask, where there is one.
    fn class(&self) -> u16 {
        if self.find(MASK).is_some() { MASK } else { GROUP_OBJ }
    }

    fn find(&self, tag: u16) -> Option<usize> {
        let tag = tag.to_le_bytes();
        let entries = self.0.get(VERSION.len()..)?.chunks_exact(LEN);
        entries.enumerate().find(|(_, entry)| entry.starts_with(&tag)).map(|(place, _)| VERSION.len() + place * LEN)
    }

    fn permissions(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at + 2], self.0[at + 3]]) & 7
    }
}

fn tag(entry: &[u8]) -> u16 {
    entry.first_chunk().map_or(0, |tag| u16::from_le_bytes(*tag))
}

/// Whether an entry is a group's, and the id; of one that names somebody.
fn named(entry: &[u8]) -> Option<(bool, u32)> {
    let id = entry.last_chunk().map(|id| u32::from_le_bytes(*id))?;
    matches!(tag(entry), USER | GROUP).then_some((tag(entry) == GROUP, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(entries: &[(u16, u16)]) -> Acl {
        with_ids(&entries.iter().map(|(tag, permissions)| (*tag, *permissions, 7)).collect::<Vec<_>>())
    }

    fn with_ids(entries: &[(u16, u16, u32)]) -> Acl {
        let mut value = VERSION.to_vec();
        for (tag, permissions, id) in entries {
            value.extend(tag.to_le_bytes());
            value.extend(permissions.to_le_bytes());
            value.extend(id.to_le_bytes());
        }
        Acl::parse(&value).unwrap()
    }

    #[test]
    fn who_does_not_exist_is_neither_shown_nor_lost() {
        let old =
            with_ids(&[(1, 7, 0), (2, 6, 33), (2, 5, 9), (4, 5, 0), (8, 4, 8), (8, 3, 44), (16, 7, 0), (32, 0, 0)]);
        let shown = |_, id: u32| (id < 10).then_some(id + 100);
        let seen = with_ids(&[(1, 7, 0), (2, 5, 109), (4, 5, 0), (8, 4, 108), (16, 7, 0), (32, 0, 0)]);
        assert_eq!(old.shown(shown), seen);
        let set = with_ids(&[(1, 7, 0), (2, 1, 9), (4, 5, 0), (16, 1, 0), (32, 0, 0)]);
        let kept = with_ids(&[(1, 7, 0), (2, 1, 9), (2, 6, 33), (4, 5, 0), (8, 3, 44), (16, 1, 0), (32, 0, 0)]);
        assert_eq!(set.keeping(&old, |_, id| id < 10), kept);
        let plain = acl(&[(USER_OBJ, 7), (GROUP_OBJ, 5), (OTHER, 0)]);
        assert_eq!(plain.clone().keeping(&old, |_, id| id < 10), plain);
    }

    #[test]
    fn modes_follow_lists_and_lists_modes() {
        assert!(acl(&[(USER_OBJ, 7), (GROUP_OBJ, 5), (OTHER, 0)]).is_plain());
        let mut named = acl(&[(USER_OBJ, 6), (2, 7), (GROUP_OBJ, 5), (MASK, 7), (OTHER, 4)]);
        assert_eq!(named.mode(), 0o674);
        named.set_mode(0o640);
        assert_eq!(named, acl(&[(USER_OBJ, 6), (2, 7), (GROUP_OBJ, 5), (MASK, 4), (OTHER, 0)]));
        let (list, mode) = named.inherited(0o2777);
        assert_eq!((list.mode(), mode), (0o640, 0o2640));
        assert_eq!(Acl::parse(b"").unwrap_err(), Errno::EOPNOTSUPP);
    }
}
