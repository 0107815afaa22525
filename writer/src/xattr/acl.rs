//! Access control lists: the values of getxattr(2) and setxattr(2), what the disk has, and how they and the mode go together.

use condatainer_formats::ext::raw::shown_acl;
use nix::errno::Errno;

use crate::error::{Error, Result};

/// The versions of the forms.
const ON_DISK: u32 = 1;
const SHOWN: u32 = 2;
/// Tag, permissions, id.
const ENTRY: usize = 8;
const NO_ID: u32 = u32::MAX;

const OWNER: u16 = 0x01;
const USER: u16 = 0x02;
const OWNING_GROUP: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHERS: u16 = 0x20;

/// What one class, user or group may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    tag: u16,
    permissions: u16,
    id: u32,
}

/// An access control list that is one: each class once, in order, and a mask where users or groups are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acl {
    entries: Vec<Entry>,
}

/// A value of setxattr(2) in the form of the disk; `None` for one without entries.
///
/// # Errors
/// It is no access control list (`EINVAL`).
pub(super) fn on_disk(value: &[u8]) -> Result<Option<Vec<u8>>> {
    Ok(Acl::of(value)?.map(|acl| acl.on_disk()))
}

/// What the disk has, in the form of getxattr(2).
pub(super) fn shown(value: &[u8]) -> Result<Vec<u8>> {
    shown_acl(value)?.ok_or_else(|| Error::corrupt("an access control list is empty"))
}

impl Acl {
    /// From a value of getxattr(2) or setxattr(2); `None` for one without entries.
    ///
    /// # Errors
    /// It is no access control list (`EINVAL`).
    pub(crate) fn of(value: &[u8]) -> Result<Option<Self>> {
        let (version, rest) = value.split_first_chunk().ok_or(Errno::EINVAL)?;
        let (entries, odd) = rest.as_chunks::<ENTRY>();
        if u32::from_le_bytes(*version) != SHOWN || !odd.is_empty() {
            return Err(Errno::EINVAL.into());
        }
        let entries: Vec<_> = entries.iter().map(Entry::of).collect();
        match entries.is_empty() {
            true => Ok(None),
            false if is_valid(&entries) => Ok(Some(Self { entries })),
            false => Err(Errno::EINVAL.into()),
        }
    }

    /// The value of getxattr(2).
    pub(crate) fn value(&self) -> Vec<u8> {
        let mut value = SHOWN.to_le_bytes().to_vec();
        for Entry { tag, permissions, id } in &self.entries {
            value.extend(tag.to_le_bytes().into_iter().chain(permissions.to_le_bytes()).chain(id.to_le_bytes()));
        }
        value
    }

    fn on_disk(&self) -> Vec<u8> {
        let mut value = ON_DISK.to_le_bytes().to_vec();
        for Entry { tag, permissions, id } in &self.entries {
            value.extend(tag.to_le_bytes().into_iter().chain(permissions.to_le_bytes()));
            if has_id(*tag) {
                value.extend(id.to_le_bytes());
            }
        }
        value
    }

    /// The nine permission bits of the mode of a file that has it. The group's are the mask's where there is one.
    pub(crate) fn mode(&self) -> u16 {
        let group = if self.is_mode() { OWNING_GROUP } else { MASK };
        self.of_tag(OWNER) << 6 | self.of_tag(group) << 3 | self.of_tag(OTHERS)
    }

    /// Whether the mode says as much, so that a file need not keep it.
    pub(crate) fn is_mode(&self) -> bool {
        self.entries.iter().all(|entry| matches!(entry.tag, OWNER | OWNING_GROUP | OTHERS))
    }

    /// As it is after chmod(2).
    pub(crate) fn with_mode(mut self, mode: u16) -> Self {
        let group = if self.entries.iter().any(|entry| entry.tag == MASK) { MASK } else { OWNING_GROUP };
        for entry in &mut self.entries {
            entry.permissions = match entry.tag {
                OWNER => mode >> 6 & 7,
                OTHERS => mode & 7,
                tag if tag == group => mode >> 3 & 7,
                _ => entry.permissions,
            };
        }
        self
    }

    /// As default list of a directory: the list that something new in it gets, asked for with these permission bits. Its [`Acl::mode`] are
    /// the bits that it really gets, and it keeps the list unless [`Acl::is_mode`].
    pub(crate) fn for_new(mut self, mode: u16) -> Self {
        let group = if self.entries.iter().any(|entry| entry.tag == MASK) { MASK } else { OWNING_GROUP };
        for entry in &mut self.entries {
            entry.permissions &= match entry.tag {
                OWNER => mode >> 6,
                OTHERS => mode,
                tag if tag == group => mode >> 3,
                _ => 7,
            };
        }
        self
    }

    fn of_tag(&self, tag: u16) -> u16 {
        self.entries.iter().find(|entry| entry.tag == tag).map_or(0, |entry| entry.permissions)
    }
}

impl Entry {
    fn of(&[t0, t1, p0, p1, i0, i1, i2, i3]: &[u8; ENTRY]) -> Self {
        let tag = u16::from_le_bytes([t0, t1]);
        let id = if has_id(tag) { u32::from_le_bytes([i0, i1, i2, i3]) } else { NO_ID };
        Self { tag, permissions: u16::from_le_bytes([p0, p1]), id }
    }
}

fn has_id(tag: u16) -> bool {
    matches!(tag, USER | GROUP)
}

fn is_valid(entries: &[Entry]) -> bool {
    let count = |tag: u16| entries.iter().filter(|entry| entry.tag == tag).count();
    let is_known = |entry: &Entry| entry.permissions <= 7 && (!has_id(entry.tag) || entry.id != NO_ID);
    let is_named = count(USER) + count(GROUP) > 0;
    entries.iter().all(is_known)
        && entries.is_sorted_by_key(|entry| entry.tag)
        && [OWNER, OWNING_GROUP, OTHERS].iter().all(|tag| count(*tag) == 1)
        && (usize::from(is_named)..=1).contains(&count(MASK))
        && entries.iter().all(|entry| matches!(entry.tag, OWNER | USER | OWNING_GROUP | GROUP | MASK | OTHERS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let bytes = |(tag, permissions, id): &(u16, u16, u32)| {
            [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
        };
        [SHOWN.to_le_bytes().to_vec(), entries.iter().flat_map(bytes).collect()].concat()
    }

    fn full() -> Vec<u8> {
        value(&[
            (OWNER, 7, NO_ID),
            (USER, 5, 70_000),
            (OWNING_GROUP, 5, NO_ID),
            (GROUP, 6, 8),
            (MASK, 7, NO_ID),
            (OTHERS, 1, NO_ID),
        ])
    }

    #[test]
    fn values_come_back_from_the_disk() {
        for value in [full(), value(&[(OWNER, 6, NO_ID), (OWNING_GROUP, 4, NO_ID), (OTHERS, 0, NO_ID)])] {
            let disk = on_disk(&value).unwrap().unwrap();
            assert!(disk.len() < value.len() && disk[0] == 1);
            assert_eq!(shown(&disk).unwrap(), value);
            assert_eq!(Acl::of(&value).unwrap().unwrap().value(), value);
        }
        assert_eq!(on_disk(&SHOWN.to_le_bytes()).unwrap(), None);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let bad = [
            vec![],
            vec![2, 0, 0],
            vec![1, 0, 0, 0],
            full()[..full().len() - 1].to_vec(),
            value(&[(OWNER, 7, NO_ID), (OWNING_GROUP, 5, NO_ID)]),
            value(&[(OWNER, 7, NO_ID), (USER, 5, 1), (OWNING_GROUP, 5, NO_ID), (OTHERS, 1, NO_ID)]),
            value(&[(OWNER, 8, NO_ID), (OWNING_GROUP, 5, NO_ID), (OTHERS, 1, NO_ID)]),
            value(&[(OWNING_GROUP, 5, NO_ID), (OWNER, 7, NO_ID), (OTHERS, 1, NO_ID)]),
            value(&[(OWNER, 7, NO_ID), (OWNER, 7, NO_ID), (OWNING_GROUP, 5, NO_ID), (OTHERS, 1, NO_ID)]),
            value(&[(OWNER, 7, NO_ID), (OWNING_GROUP, 5, NO_ID), (OTHERS, 1, NO_ID), (0x40, 1, NO_ID)]),
        ];
        for value in bad {
            assert_eq!(Acl::of(&value).unwrap_err().errno(), Errno::EINVAL, "{value:?}");
        }
    }

    #[test]
    fn lists_and_modes_go_together() {
        let acl = Acl::of(&full()).unwrap().unwrap();
        assert_eq!((acl.mode(), acl.is_mode()), (0o771, false));
        assert_eq!(acl.clone().with_mode(0o640).mode(), 0o640);
        assert_eq!(acl.clone().with_mode(0o640).of_tag(OWNING_GROUP), 5);
        let new = acl.for_new(0o666);
        assert_eq!((new.mode(), new.of_tag(OWNING_GROUP)), (0o660, 5));
        let short =
            Acl::of(&value(&[(OWNER, 6, NO_ID), (OWNING_GROUP, 4, NO_ID), (OTHERS, 0, NO_ID)])).unwrap().unwrap();
        assert_eq!((short.mode(), short.is_mode()), (0o640, true));
        assert_eq!(short.for_new(0o466).mode(), 0o440);
    }
}
