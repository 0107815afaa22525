//! A new inode.

use condatainer_formats::ext::raw::{FileType, flag};
use condatainer_formats::ext::{Ids, Time};

use super::node::Node;
use crate::alloc;
use crate::error::Result;
use crate::store::Handle;

/// What the kernel knows behind the first 128 bytes of an inode.
const KNOWN_EXTRA: u16 = 32;
/// Flags that a directory hands down.
const INHERITED: u32 = flag::SECRM
    | flag::UNRM
    | flag::COMPR
    | flag::SYNC
    | flag::NODUMP
    | flag::NOATIME
    | flag::NOCOMPR
    | flag::JOURNAL_DATA
    | flag::NOTAIL
    | flag::DIRSYNC;

/// What is to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct New {
    /// Type and permissions.
    pub(crate) mode: u16,
    /// Whose it is.
    pub(crate) ids: Ids,
    /// All of its times.
    pub(crate) time: Time,
}

/// Takes an inode for something in the directory `parent` and fills it, with one link. It is written.
///
/// # Errors
/// `ENOSPC`.
pub(crate) fn make(handle: &mut Handle<'_>, parent: &Node, new: New) -> Result<Node> {
    let kind = FileType::from_mode(new.mode);
    let flags = handed_down(parent.inode()?.i_flags.get(), kind);
    let ino = alloc::inode(handle, parent.ino, kind == FileType::Directory)?;
    let extra = extra_isize(handle)?;
    let mut node = Node::read(handle, ino)?;
    let record = node.record_mut()?;
    record.inode.i_generation.set(fastrand::u32(..));
    record.inode.i_mode.set(new.mode);
    record.inode.i_links_count.set(1);
    record.inode.i_flags.set(flags);
    record.inode.set_ids(new.ids);
    record.set_extra_isize(extra);
    let time = (new.time.seconds, new.time.nanoseconds);
    record.set_atime(time);
    record.set_ctime(time);
    record.set_mtime(time);
    record.set_crtime(time);
    node.write(handle)?;
    Ok(node)
}

/// Which flags of its directory something gets.
fn handed_down(flags: u32, kind: FileType) -> u32 {
    flags
        & INHERITED
        & match kind {
            FileType::Directory => !0,
            FileType::Regular => !flag::DIRSYNC,
            _ => flag::NODUMP | flag::NOATIME,
        }
}

/// How much of a long record is fields: as much as the image asks for, if there is room, and as the kernel knows at least.
fn extra_isize(handle: &mut Handle<'_>) -> Result<u16> {
    let raw = handle.superblock()?;
    let wanted = raw.s_want_extra_isize.get().max(raw.s_min_extra_isize.get()).max(KNOWN_EXTRA);
    let room = handle.geometry().sb.inode_size.saturating_sub(128);
    Ok(if wanted <= room && wanted.is_multiple_of(4) { wanted } else { KNOWN_EXTRA })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_handed_down_as_in_the_kernel() {
        let all = !0;
        assert_eq!(handed_down(all, FileType::Directory), 0x1_C4CF);
        assert_eq!(handed_down(all, FileType::Regular), 0xC4CF);
        assert_eq!(handed_down(all, FileType::Symlink), 0xC0);
        assert_eq!(handed_down(flag::INDEX | flag::TOPDIR | flag::IMMUTABLE, FileType::Directory), 0);
    }
}
