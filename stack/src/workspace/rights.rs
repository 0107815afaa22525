//! Who may do what: access control lists, and what a directory passes on to what is made in it.
//!
//! The kernel checks rights; here lists and modes are kept in step. Who does not exist in the namespace is not shown in a list, and kept in it.

use condatainer_formats::ext::{FileType, Ids, Stat};
use condatainer_writer::{Changes, How};
use nix::errno::Errno;

use super::Workspace;
use crate::posix_acl::{ACCESS, Acl, DEFAULT};
use crate::serve::tree::{Answer, New};

/// What something new gets besides what was asked for.
pub(super) struct Passed {
    pub(super) mode: u16,
    pub(super) ids: Ids,
    pub(super) xattrs: Vec<(&'static [u8], Vec<u8>)>,
}

impl Workspace {
    pub(super) fn acl(&self, ino: u32, name: &[u8]) -> Option<Acl> {
        Acl::parse(&self.volume.xattr(ino, name).ok()?).ok()
    }

    pub(super) fn set_acl(&self, ino: u32, name: &[u8], value: &[u8], how: How) -> Answer<()> {
        let mut acl = Acl::parse(value)?;
        if let Some(before) = self.acl(ino, name) {
            acl = acl.keeping(&before, |is_group, id| self.owners.named(is_group, id).is_some());
        }
        let stat = self.answer(self.volume.stat(ino))?;
        if name == DEFAULT {
            if stat.kind != FileType::Directory {
                return Err(Errno::EACCES);
            }
            return self.with_room(|| self.volume.set_xattr(ino, name, &acl.clone().value(), how));
        }
        let mode = stat.mode & !0o777 | acl.mode();
        let value = acl.clone().value();
        let xattr = Some((name, (!acl.is_plain()).then_some(value.as_slice())));
        self.with_room(|| self.volume.alter(ino, &Changes { mode: Some(mode), xattr, ..Changes::default() })).map(drop)
    }

    /// A list as it is shown.
    pub(super) fn shown_acl(&self, ino: u32, name: &[u8]) -> Answer<Vec<u8>> {
        let acl = Acl::parse(&self.answer(self.volume.xattr(ino, name))?)?;
        Ok(acl.shown(|is_group, id| self.owners.named(is_group, id)).value())
    }

    /// What a directory passes on: the group and the bit, where it is set-group-ID, and a default access control list.
    pub(super) fn passed_on(&self, directory: u32, parent: &Stat, new: &New<'_>) -> Answer<Passed> {
        let (mut mode, mut ids) = (new.mode & 0o7777, self.owners.on_disk(new.ids));
        let mut xattrs = Vec::new();
        match self.acl(directory, DEFAULT).filter(|_| new.kind != FileType::Symlink) {
            None => mode &= !new.umask,
            Some(default) => {
                if new.kind == FileType::Directory {
                    xattrs.push((DEFAULT, default.clone().value()));
                }
                let (list, result) = default.inherited(mode);
                mode = result;
                if !list.is_plain() {
                    xattrs.push((ACCESS, list.value()));
                }
            }
        }
        if parent.mode & 0o2000 != 0 {
            ids.gid = parent.ids.gid;
            if new.kind == FileType::Directory {
                mode |= 0o2000;
            }
        }
        Ok(Passed { mode, ids, xattrs })
    }
}
