//! Access control lists: what setxattr(2) takes and getxattr(2) gives, and ext's own form on the disk.

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

/// A value of setxattr(2) in the form of the disk, which has ids where they are needed; `None` for one without entries or
/// without anything, which takes a list away.
///
/// # Errors
/// It is no access control list (`EINVAL`), or of another version (`EOPNOTSUPP`).
pub(super) fn on_disk(value: &[u8]) -> Result<Option<Vec<u8>>> {
    let entries = if value.is_empty() { Vec::new() } else { entries(value)? };
    if entries.is_empty() {
        return Ok(None);
    }
    if !is_valid(&entries) {
        return Err(Errno::EINVAL.into());
    }
    let mut disk = ON_DISK.to_le_bytes().to_vec();
    for Entry { tag, permissions, id } in entries {
        disk.extend(tag.to_le_bytes().into_iter().chain(permissions.to_le_bytes()));
        if has_id(tag) {
            disk.extend(id.to_le_bytes());
        }
    }
    Ok(Some(disk))
}

/// What the disk has, in the form of getxattr(2).
pub(super) fn shown(value: &[u8]) -> Result<Vec<u8>> {
    shown_acl(value)?.ok_or_else(|| Error::corrupt("an access control list is empty"))
}

fn entries(value: &[u8]) -> Result<Vec<Entry>> {
    let (version, rest) = value.split_first_chunk().ok_or(Errno::EINVAL)?;
    if u32::from_le_bytes(*version) != SHOWN {
        return Err(Errno::EOPNOTSUPP.into());
    }
    match rest.as_chunks::<ENTRY>() {
        (entries, []) => Ok(entries.iter().map(Entry::of).collect()),
        _ => Err(Errno::EINVAL.into()),
    }
}

impl Entry {
    fn of(&[t0, t1, p0, p1, i0, i1, i2, i3]: &[u8; ENTRY]) -> Self {
        let (tag, permissions) = (u16::from_le_bytes([t0, t1]), u16::from_le_bytes([p0, p1]));
        Self { tag, permissions, id: u32::from_le_bytes([i0, i1, i2, i3]) }
    }
}

fn has_id(tag: u16) -> bool {
    matches!(tag, USER | GROUP)
}

/// Each class once and in order, and a mask where users or groups are named.
fn is_valid(entries: &[Entry]) -> bool {
    let count = |tag: u16| entries.iter().filter(|entry| entry.tag == tag).count();
    let is_known = |entry: &Entry| match entry.tag {
        USER | GROUP => entry.id != NO_ID,
        tag => [OWNER, OWNING_GROUP, MASK, OTHERS].contains(&tag),
    };
    let names_somebody = count(USER) + count(GROUP) > 0;
    entries.iter().all(|entry| is_known(entry) && entry.permissions <= 7)
        && entries.is_sorted_by_key(|entry| entry.tag)
        && [OWNER, OWNING_GROUP, OTHERS].iter().all(|tag| count(*tag) == 1)
        && (usize::from(names_somebody)..=1).contains(&count(MASK))
}

/// For tests: a value of setxattr(2).
#[cfg(test)]
pub(super) fn value(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let bytes = |(tag, permissions, id): &(u16, u16, u32)| {
        [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    [SHOWN.to_le_bytes().to_vec(), entries.iter().flat_map(bytes).collect()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_from_the_disk() {
        let short = [(OWNER, 6, NO_ID), (OWNING_GROUP, 4, NO_ID), (OTHERS, 0, NO_ID)];
        let named = [(USER, 5, 70_000), (GROUP, 6, 8), (MASK, 7, NO_ID)];
        let mut long = [short, named].concat();
        long.sort_unstable();
        for value in [value(&short), value(&long)] {
            let disk = on_disk(&value).unwrap().unwrap();
            assert!(disk.len() < value.len() && disk[0] == 1);
            assert_eq!(shown(&disk).unwrap(), value);
        }
        assert_eq!(on_disk(&SHOWN.to_le_bytes()).unwrap(), None);
    }
}
