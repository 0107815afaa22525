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
const GROUP_OBJ: u16 = 0x04;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(entries: &[(u16, u16)]) -> Acl {
        let mut value = VERSION.to_vec();
        for (tag, permissions) in entries {
            value.extend(tag.to_le_bytes());
            value.extend(permissions.to_le_bytes());
            value.extend(7_u32.to_le_bytes());
        }
        Acl::parse(&value).unwrap()
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
