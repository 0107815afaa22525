//! The names of attributes: a class, which the disk has as a number, and the rest.

use nix::errno::Errno;

use super::acl;
use super::layout::Attribute;
use crate::error::Result;

const LONGEST_NAME: usize = 255;
/// Classes of which a name is one, with the number that the disk has.
const CLASSES: [(u8, &[u8]); 3] = [(1, b"user."), (4, b"trusted."), (6, b"security.")];
/// Names of which each is a class of its own: access control lists.
const LISTS: [(u8, &[u8]); 2] = [(2, b"system.posix_acl_access"), (3, b"system.posix_acl_default")];

/// What an attribute is found by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'a> {
    pub(super) index: u8,
    /// Without the class.
    pub(super) name: &'a [u8],
}

impl<'a> Key<'a> {
    /// From a full name.
    pub(super) fn of(name: &'a [u8]) -> Result<Self> {
        if let Some((index, _)) = LISTS.iter().find(|(_, list)| *list == name) {
            return Ok(Self { index: *index, name: b"" });
        }
        let class = CLASSES.iter().find_map(|(index, class)| name.strip_prefix(*class).map(|rest| (*index, rest)));
        match class {
            None => Err(Errno::EOPNOTSUPP.into()),
            Some((_, rest)) if rest.is_empty() || rest.contains(&0) => Err(Errno::EINVAL.into()),
            Some((_, rest)) if rest.len() > LONGEST_NAME => Err(Errno::ERANGE.into()),
            Some((index, rest)) => Ok(Self { index, name: rest }),
        }
    }

    /// Takes the attribute of this name out.
    pub(super) fn take(&self, attributes: &mut Vec<Attribute>) -> Option<Attribute> {
        let is_it = |attribute: &Attribute| attribute.index == self.index && attribute.name == self.name;
        attributes.iter().position(is_it).map(|place| attributes.remove(place))
    }

    fn is_list(&self) -> bool {
        LISTS.iter().any(|(index, _)| *index == self.index)
    }

    /// A value as the disk has it; `None` for an access control list without entries.
    pub(super) fn on_disk(&self, value: &[u8]) -> Result<Option<Vec<u8>>> {
        if self.is_list() { acl::on_disk(value) } else { Ok(Some(value.to_vec())) }
    }

    /// A value of the disk as getxattr(2) shows it.
    pub(super) fn shown(&self, value: Vec<u8>) -> Result<Vec<u8>> {
        if self.is_list() { acl::shown(&value) } else { Ok(value) }
    }
}

/// The full name; `None` for one of a class that nobody can ask for.
pub(super) fn full(attribute: &Attribute) -> Option<Vec<u8>> {
    let list = LISTS.iter().find(|(index, _)| *index == attribute.index);
    let class = CLASSES.iter().find(|(index, _)| *index == attribute.index);
    list.or(class).map(|(_, class)| [class, attribute.name.as_slice()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_class() {
        let errno = |name: &[u8]| Key::of(name).unwrap_err().errno();
        assert_eq!(errno(b"user."), Errno::EINVAL);
        assert_eq!(errno(b"system.other"), Errno::EOPNOTSUPP);
        assert_eq!(errno(b"nothing"), Errno::EOPNOTSUPP);
        assert_eq!(errno(&[b"user.".as_slice(), &[b'a'; 256]].concat()), Errno::ERANGE);
        for name in [b"user.a".as_slice(), b"trusted.overlay.opaque", b"system.posix_acl_default", b"security.ima"] {
            let key = Key::of(name).unwrap();
            let attribute = Attribute { index: key.index, name: key.name.to_vec(), value: Vec::new() };
            assert_eq!(full(&attribute).unwrap(), name);
        }
    }
}
