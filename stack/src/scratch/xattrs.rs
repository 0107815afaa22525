//! The extended attributes of one inode.

use nix::errno::Errno;

use crate::posix_acl::Acl;
use crate::serve::tree::Answer;

const CAPABILITIES: &[u8] = b"security.capability";
/// What the kernel takes at most: of a name, of a value, and of all names together (XATTR_NAME_MAX, XATTR_SIZE_MAX, XATTR_LIST_MAX).
const MOST: (usize, usize, usize) = (255, 1 << 16, 1 << 16);
/// All values of one inode together: they lie in memory.
const MOST_BYTES: usize = 1 << 18;

/// Names and values; nearly every inode has none.
#[derive(Debug, Default)]
#[allow(clippy::box_collection, reason = "a word where there is nothing, not three")]
pub(super) struct Xattrs(Option<Box<Vec<Xattr>>>);

type Xattr = (Box<[u8]>, Box<[u8]>);

impl Xattrs {
    pub(super) fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.all().iter().find(|(known, _)| **known == *name).map(|(_, value)| &**value)
    }

    /// An access control list.
    pub(super) fn acl(&self, name: &[u8]) -> Option<Acl> {
        Acl::parse(self.get(name)?).ok()
    }

    /// All names, each ended by a NUL.
    pub(super) fn names(&self) -> Vec<u8> {
        self.all().iter().flat_map(|(name, _)| name.iter().copied().chain([0])).collect()
    }

    /// Sets one, with the flags of setxattr(2).
    pub(super) fn set(&mut self, name: &[u8], value: &[u8], flags: i32) -> Answer<()> {
        if name.is_empty() || name.len() > MOST.0 {
            return Err(Errno::ERANGE);
        }
        if value.len() > MOST.1 {
            return Err(Errno::E2BIG);
        }
        let (create, replace) = (flags & libc::XATTR_CREATE != 0, flags & libc::XATTR_REPLACE != 0);
        match self.get(name) {
            Some(_) if create => return Err(Errno::EEXIST),
            None if replace => return Err(Errno::ENODATA),
            _ => {}
        }
        let others = || self.all().iter().filter(|(known, _)| **known != *name);
        let names: usize = others().map(|(name, _)| name.len() + 1).sum();
        let bytes: usize = others().map(|(_, value)| value.len()).sum();
        if names + name.len() + 1 > MOST.2 || bytes + value.len() > MOST_BYTES {
            return Err(Errno::ENOSPC);
        }
        let all = self.0.get_or_insert_default();
        match all.iter_mut().find(|(known, _)| **known == *name) {
            Some((_, old)) => *old = value.into(),
            None => all.push((name.into(), value.into())),
        }
        Ok(())
    }

    /// Takes one away, and returns whether it was there.
    pub(super) fn remove(&mut self, name: &[u8]) -> bool {
        let before = self.all().len();
        if let Some(all) = &mut self.0 {
            all.retain(|(known, _)| **known != *name);
        }
        let after = self.all().len();
        if after == 0 {
            self.0 = None;
        }
        after < before
    }

    pub(super) fn drop_capabilities(&mut self) {
        if self.0.is_some() {
            self.remove(CAPABILITIES);
        }
    }

    fn all(&self) -> &[Xattr] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_limits() {
        let mut xattrs = Xattrs::default();
        assert_eq!(xattrs.set(b"user.a", b"1", libc::XATTR_REPLACE), Err(Errno::ENODATA));
        xattrs.set(b"user.a", b"1", libc::XATTR_CREATE).unwrap();
        assert_eq!(xattrs.set(b"user.a", b"2", libc::XATTR_CREATE), Err(Errno::EEXIST));
        xattrs.set(b"user.a", b"2", 0).unwrap();
        xattrs.set(b"user.b", b"", 0).unwrap();
        assert_eq!((xattrs.get(b"user.a"), xattrs.names()), (Some(&b"2"[..]), b"user.a\0user.b\0".to_vec()));
        assert!(xattrs.remove(b"user.a") && !xattrs.remove(b"user.a"));
        assert_eq!(xattrs.set(b"user.c", &[0; 70_000], 0), Err(Errno::E2BIG));
    }
}
