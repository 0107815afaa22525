//! What an inode says, and how that is changed: all but its content.

use condatainer_formats::ext::{FileType, Stat, Time};
use nix::errno::Errno;

use super::base::{Volume, now};
use super::flags::may_change;
use crate::error::{Error, Result};
use crate::inode::Node;
use crate::map;
use crate::store::Handle;
use crate::xattr;

const CAPABILITIES: &[u8] = b"security.capability";

/// What is to be changed of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changes<'a> {
    /// Permission bits.
    pub mode: Option<u16>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// When it was last read.
    pub accessed: Option<Time>,
    /// When its content was last changed.
    pub modified: Option<Time>,
    /// When anything of it was last changed; now, where nothing is said.
    pub changed: Option<Time>,
    /// Set-user-ID, set-group-ID and capabilities go, as where somebody else gets it.
    pub strip: bool,
    /// An attribute that changes together with the rest: its name, and its value or that it goes.
    pub xattr: Option<(&'a [u8], Option<&'a [u8]>)>,
}

/// How much room there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// In bytes, of one block.
    pub block_size: u32,
    /// Blocks in all, without what the file system itself takes.
    pub blocks: u64,
    /// Blocks that programs can still have.
    pub free: u64,
    /// Inodes in all.
    pub inodes: u32,
    /// Inodes that can still be made.
    pub free_inodes: u32,
}

impl Volume {
    /// What an inode says; also one that has no name any more.
    ///
    /// # Errors
    /// It is none, or cannot be read.
    pub fn stat(&self, ino: u32) -> Result<Stat> {
        self.look(|handle| Node::read(handle, ino)?.stat(&handle.geometry()))
    }

    /// Where a symbolic link leads.
    ///
    /// # Errors
    /// Not a symbolic link (`EINVAL`), or it cannot be read.
    pub fn target(&self, ino: u32) -> Result<Vec<u8>> {
        self.look(|handle| {
            let node = Node::read(handle, ino)?;
            if node.inode()?.file_type() != FileType::Symlink {
                return Err(Errno::EINVAL.into());
            }
            let geometry = handle.geometry();
            if let Some(target) = node.fast_target(&geometry)? {
                return Ok(target);
            }
            let block =
                map::find(handle, &node, 0, 1)?.physical.ok_or_else(|| Error::corrupt("a link has no target"))?;
            let length = usize::try_from(node.inode()?.size()).unwrap_or(usize::MAX);
            let bytes = handle.block(block)?;
            bytes.get(..length).map(<[u8]>::to_vec).ok_or_else(|| Error::corrupt("a link is longer than a block"))
        })
    }

    /// How much room there is.
    ///
    /// # Errors
    /// The superblock cannot be read.
    pub fn room(&self) -> Result<Room> {
        self.look(|handle| {
            let (geometry, raw) = (handle.geometry(), handle.superblock()?);
            let free = u64::from(raw.s_free_blocks_count_lo.get());
            Ok(Room {
                block_size: geometry.sb.block_size,
                blocks: geometry.sb.blocks_count.saturating_sub(geometry.overhead()),
                free: free.saturating_sub(geometry.sb.r_blocks_count),
                inodes: geometry.sb.inodes_count,
                free_inodes: raw.s_free_inodes_count.get(),
            })
        })
    }

    /// Changes what an inode says, and returns what it says then.
    ///
    /// # Errors
    /// There is no room for an attribute, or it cannot be written.
    pub fn alter(&self, ino: u32, changes: &Changes<'_>) -> Result<Stat> {
        self.change_with_room(|handle| {
            let mut node = Node::read(handle, ino)?;
            may_change(&node)?;
            let inode = node.inode_mut()?;
            if let Some(mode) = changes.mode {
                inode.set_permissions(mode & 0o7777);
            }
            if changes.uid.is_some() || changes.gid.is_some() {
                let mut ids = inode.ids();
                ids.uid = changes.uid.unwrap_or(ids.uid);
                ids.gid = changes.gid.unwrap_or(ids.gid);
                inode.set_ids(ids);
            }
            if changes.strip {
                strip(handle, &mut node)?;
            }
            let (record, time) = (node.record_mut()?, |time: Time| (time.seconds, time.nanoseconds));
            if let Some(accessed) = changes.accessed {
                record.set_atime(time(accessed));
            }
            if let Some(modified) = changes.modified {
                record.set_mtime(time(modified));
            }
            record.set_ctime(time(changes.changed.unwrap_or_else(now)));
            match changes.xattr {
                Some((name, Some(value))) => xattr::set(handle, &mut node, name, value, xattr::How::Any)?,
                Some((name, None)) => drop(xattr::remove(handle, &mut node, name)?),
                None => {}
            }
            node.write(handle)?;
            node.stat(&handle.geometry())
        })
    }

    /// The value of an attribute.
    ///
    /// # Errors
    /// It has none of that name (`ENODATA`), or it cannot be read.
    pub fn xattr(&self, ino: u32, name: &[u8]) -> Result<Vec<u8>> {
        self.look(|handle| {
            let node = Node::read(handle, ino)?;
            xattr::get(handle, &node, name)?.ok_or_else(|| Errno::ENODATA.into())
        })
    }

    /// The names of all attributes.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn xattrs(&self, ino: u32) -> Result<Vec<Vec<u8>>> {
        self.look(|handle| {
            let node = Node::read(handle, ino)?;
            xattr::names(handle, &node)
        })
    }

    /// Sets an attribute.
    ///
    /// # Errors
    /// As setxattr(2).
    pub fn set_xattr(&self, ino: u32, name: &[u8], value: &[u8], how: xattr::How) -> Result<()> {
        self.change_with_room(|handle| {
            let mut node = Node::read(handle, ino)?;
            may_change(&node)?;
            xattr::set(handle, &mut node, name, value, how)?;
            node.set_changed(now())?;
            node.write(handle)
        })
    }

    /// Sets an attribute, and others to the same value, in one change.
    ///
    /// # Errors
    /// As setxattr(2).
    pub fn set_xattrs(&self, ino: u32, names: &[&[u8]], value: &[u8], how: xattr::How) -> Result<()> {
        self.change_with_room(|handle| {
            let mut node = Node::read(handle, ino)?;
            may_change(&node)?;
            for (place, name) in names.iter().enumerate() {
                xattr::set(handle, &mut node, name, value, if place == 0 { how } else { xattr::How::Any })?;
            }
            node.set_changed(now())?;
            node.write(handle)
        })
    }

    /// Takes an attribute away.
    ///
    /// # Errors
    /// It has none of that name (`ENODATA`), or it cannot be written.
    pub fn remove_xattr(&self, ino: u32, name: &[u8]) -> Result<()> {
        self.change_with_room(|handle| {
            let mut node = Node::read(handle, ino)?;
            may_change(&node)?;
            if !xattr::remove(handle, &mut node, name)? {
                return Err(Errno::ENODATA.into());
            }
            node.set_changed(now())?;
            node.write(handle)
        })
    }
}

/// Somebody has written to it, or it has another owner: set-user-ID goes, set-group-ID where the group may execute it, and capabilities.
pub(super) fn strip(handle: &mut Handle<'_>, node: &mut Node) -> Result<()> {
    let inode = node.inode_mut()?;
    let mut mode = inode.permissions() & !0o4000;
    if mode & 0o010 != 0 {
        mode &= !0o2000;
    }
    inode.set_permissions(mode);
    drop_capabilities(handle, node)
}

/// What a file may do holds for the content that it was given for.
pub(super) fn drop_capabilities(handle: &mut Handle<'_>, node: &mut Node) -> Result<()> {
    if xattr::may_have(node)? {
        xattr::remove(handle, node, CAPABILITIES)?;
    }
    Ok(())
}
