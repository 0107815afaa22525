//! Access control lists: from the form that ext has on disk to that of getxattr(2).
//!
//! On disk (version 1) an entry has an id only where it needs one; the kernel's value (version 2) has one in each.

use crate::bytes::{u16_at, u32_at};
use crate::ext::error::ExtError;

const ON_DISK: u32 = 1;
const SHOWN: u32 = 2;
const USER: u16 = 0x02;
const GROUP: u16 = 0x08;
/// The tags that stand for one class each: owner, group, mask, others.
const WITHOUT_ID: [u16; 4] = [0x01, 0x04, 0x10, 0x20];
const NO_ID: u32 = u32::MAX;

/// The value as getxattr(2) shows it; an empty list is none.
///
/// # Errors
/// It is broken.
pub fn shown(value: &[u8]) -> Result<Option<Vec<u8>>, ExtError> {
    let broken = || ExtError::corrupt("an access control list is broken");
    if value.is_empty() || u32_at(value, 0) != Some(ON_DISK) {
        return Err(broken());
    }
    let mut shown = SHOWN.to_le_bytes().to_vec();
    let mut at = 4;
    while at < value.len() {
        let (tag, permissions) = u16_at(value, at).zip(u16_at(value, at + 2)).ok_or_else(broken)?;
        let (id, length) = match tag {
            USER | GROUP => (u32_at(value, at + 4).ok_or_else(broken)?, 8),
            _ if WITHOUT_ID.contains(&tag) => (NO_ID, 4),
            _ => return Err(broken()),
        };
        shown.extend(tag.to_le_bytes().into_iter().chain(permissions.to_le_bytes()).chain(id.to_le_bytes()));
        at += length;
    }
    Ok(Some(shown).filter(|shown| shown.len() > 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stand_where_they_are_needed_and_nowhere_else() {
        let disk = [&[1, 0, 0, 0][..], &[1, 0, 6, 0], &[2, 0, 4, 0, 0x70, 0x11, 1, 0], &[0x20, 0, 0, 0]].concat();
        let kernel = [
            &[2, 0, 0, 0][..],
            &[1, 0, 6, 0, 255, 255, 255, 255],
            &[2, 0, 4, 0, 0x70, 0x11, 1, 0],
            &[0x20, 0, 0, 0, 255, 255, 255, 255],
        ];
        assert_eq!(shown(&disk).unwrap(), Some(kernel.concat()));
        assert_eq!(shown(&disk[..4]).unwrap(), None);
        assert!(shown(&disk[..10]).is_err() && shown(&[]).is_err() && shown(&[2, 0, 0, 0]).is_err());
        assert!(shown(&[1, 0, 0, 0, 3, 0, 0, 0]).is_err());
    }
}
