//! What an inode says and what is in it changes.

use nix::errno::Errno;

use super::data::BLOCK;
use super::fs::Scratch;
use super::node::{Meta, Node, now};
use crate::layer::Attributes;
use crate::posix_acl::{ACCESS, Acl, DEFAULT};
use crate::serve::tree::{Answer, Changes, Moment};

impl Scratch {
    pub(super) fn change_node(&self, node: u64, changes: &Changes) -> Answer<Attributes> {
        let node = self.node(node)?;
        if let Some(size) = changes.size {
            self.resize(&node, size, !changes.keeps)?;
        }
        let mut meta = node.meta.lock();
        if let Some(mode) = changes.mode {
            set_mode(&mut meta, mode & 0o7777)?;
        }
        if changes.uid.is_some() || changes.gid.is_some() {
            meta.ids.uid = changes.uid.unwrap_or(meta.ids.uid);
            meta.ids.gid = changes.gid.unwrap_or(meta.ids.gid);
            if !node.is_directory() && changes.mode.is_none() {
                meta.strip();
            }
        }
        let at = |moment: Option<Moment>, before| match moment {
            None => before,
            Some(Moment::Now) => now(),
            Some(Moment::At(time)) => time,
        };
        meta.accessed = at(changes.accessed, meta.accessed);
        meta.modified = at(changes.modified, meta.modified);
        meta.changed = changes.changed.unwrap_or_else(now);
        Ok(node.show(&meta))
    }

    fn resize(&self, node: &Node, size: u64, strip: bool) -> Answer<()> {
        i64::try_from(size).map_err(|_| Errno::EFBIG)?;
        let mut content = node.file()?.write();
        content.punch(&self.data, size, u64::MAX)?;
        let mut meta = node.meta.lock();
        (meta.size, meta.blocks) = (size, content.blocks());
        touch(&mut meta, strip);
        Ok(())
    }

    pub(super) fn write_file(&self, file: u64, offset: u64, data: &[u8], strip: bool) -> Answer<usize> {
        let node = self.node(file)?;
        let mut content = node.file()?.write();
        let result = content.write(&self.data, offset, data);
        let mut meta = node.meta.lock();
        meta.blocks = content.blocks();
        let written = result?;
        if written > 0 {
            meta.size = meta.size.max(offset + written as u64);
            touch(&mut meta, strip);
        }
        Ok(written)
    }

    pub(super) fn allocate_file(&self, file: u64, offset: u64, length: u64, mode: i32, strip: bool) -> Answer<()> {
        let keep = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
        let end = offset.checked_add(length).filter(|end| i64::try_from(*end).is_ok()).ok_or(Errno::EFBIG)?;
        let node = self.node(file)?;
        let mut content = node.file()?.write();
        let result = match mode & !libc::FALLOC_FL_KEEP_SIZE {
            0 => content.reserve(&self.data, offset, end),
            libc::FALLOC_FL_PUNCH_HOLE if keep => content.punch(&self.data, offset, end),
            libc::FALLOC_FL_ZERO_RANGE => {
                content.punch(&self.data, offset, end).and_then(|()| content.reserve(&self.data, offset, end))
            }
            _ => Err(Errno::EOPNOTSUPP),
        };
        let mut meta = node.meta.lock();
        meta.blocks = content.blocks();
        result?;
        if !keep {
            meta.size = meta.size.max(end);
        }
        touch(&mut meta, strip);
        Ok(())
    }

    pub(super) fn set_attribute(&self, node: u64, name: &[u8], value: &[u8], flags: i32) -> Answer<()> {
        let node = self.node(node)?;
        let mut meta = node.meta.lock();
        match name {
            ACCESS => {
                let acl = Acl::parse(value)?;
                if acl.is_plain() {
                    meta.xattrs.remove(ACCESS);
                } else {
                    meta.xattrs.set(ACCESS, value, flags)?;
                }
                meta.mode = meta.mode & !0o777 | acl.mode();
            }
            DEFAULT if !node.is_directory() => return Err(Errno::EACCES),
            DEFAULT => {
                Acl::parse(value)?;
                meta.xattrs.set(DEFAULT, value, flags)?;
            }
            _ if name.starts_with(b"user.") || name.starts_with(b"security.") => meta.xattrs.set(name, value, flags)?,
            _ => return Err(Errno::EOPNOTSUPP),
        }
        meta.changed = now();
        Ok(())
    }

    pub(super) fn remove_attribute(&self, node: u64, name: &[u8]) -> Answer<()> {
        let node = self.node(node)?;
        let mut meta = node.meta.lock();
        // Taking a list away that is not there is no error, as everywhere.
        if !meta.xattrs.remove(name) && name != ACCESS && name != DEFAULT {
            return Err(Errno::ENODATA);
        }
        meta.changed = now();
        Ok(())
    }

    pub(super) fn read_file(&self, file: u64, offset: u64, buf: &mut [u8]) -> Answer<usize> {
        let node = self.node(file)?;
        let content = node.file()?.read();
        let size = node.meta.lock().size;
        content.read(&self.data, size, offset, buf)
    }

    pub(super) fn seek_file(&self, file: u64, offset: u64, hole: bool) -> Answer<u64> {
        let node = self.node(file)?;
        let content = node.file()?.read();
        let size = node.meta.lock().size;
        content.seek(size, offset, hole)
    }
}

/// The mode, and what an access control list has of it.
fn set_mode(meta: &mut Meta, mode: u16) -> Answer<()> {
    if let Some(mut acl) = meta.xattrs.acl(ACCESS) {
        acl.set_mode(mode);
        meta.xattrs.set(ACCESS, &acl.value(), 0)?;
    }
    meta.mode = mode;
    Ok(())
}

/// The content has changed.
fn touch(meta: &mut Meta, strip: bool) {
    meta.touch();
    if strip {
        meta.strip();
    } else {
        meta.xattrs.drop_capabilities();
    }
}

const _: () = assert!(BLOCK == 4096, "what stat(2) shows counts eight sectors for a block");
