//! Inodes that have lost their last name, or are being made shorter, in more than one change: the list that ext3 keeps of them on the disk.
//! The superblock has the first, and each has the next in the place of its time of deletion. Whoever opens the image after a crash carries out
//! what is left.

use condatainer_formats::ext::raw::FileType;
use zerocopy::little_endian::U32;

use super::base::{Volume, now};
use crate::alloc;
use crate::error::{Error, Result};
use crate::inode::Node;
use crate::map;
use crate::store::Handle;
use crate::xattr;

/// Puts an inode on the list, if it is not there already. The node is not written.
pub(crate) fn add(handle: &mut Handle<'_>, node: &mut Node) -> Result<()> {
    let first = handle.superblock()?.s_last_orphan.get();
    if is_listed(handle, node)? {
        return Ok(());
    }
    node.inode_mut()?.i_dtime.set(first);
    let ino = node.ino;
    handle.change_superblock(|raw| raw.s_last_orphan.set(ino))?;
    match first {
        0 => handle.orphan_hints().forget_if_full(),
        _ => handle.orphan_hints().note(first, ino),
    }
    Ok(())
}

/// Takes an inode from the list. The node is not written.
pub(crate) fn remove(handle: &mut Handle<'_>, node: &mut Node) -> Result<()> {
    let (ino, next) = (node.ino, node.inode()?.i_dtime.get());
    let is_first = handle.superblock()?.s_last_orphan.get() == ino;
    let before = if is_first { None } else { before(handle, ino)? };
    match before {
        None if !is_first => return Err(Error::corrupt(format!("inode {ino} is not on the list of orphans"))),
        None => handle.change_superblock(|raw| raw.s_last_orphan.set(next))?,
        Some(before) => {
            let mut before = Node::read(handle, before)?;
            before.inode_mut()?.i_dtime.set(next);
            before.write(handle)?;
        }
    }
    node.inode_mut()?.i_dtime = U32::ZERO;
    if let Some(before) = before {
        handle.orphan_hints().note(next, before);
    }
    Ok(())
}

/// Whether an inode is on the list: left there by a change that failed between two others.
fn is_listed(handle: &mut Handle<'_>, node: &Node) -> Result<bool> {
    if handle.superblock()?.s_last_orphan.get() == node.ino {
        return Ok(true);
    }
    // The last one leads nowhere, as those do that are not on the list.
    let may_be = node.inode()?.i_dtime.get() != 0 || handle.orphan_hints().may_follow(node.ino);
    Ok(may_be && before(handle, node.ino)?.is_some())
}

/// The inode before another one on the list, if it is on it and not the first.
fn before(handle: &mut Handle<'_>, ino: u32) -> Result<Option<u32>> {
    if let Some(hint) = handle.orphan_hints().before(ino)
        && next(handle, hint).is_ok_and(|next| next == ino)
    {
        return Ok(Some(hint));
    }
    let mut other = handle.superblock()?.s_last_orphan.get();
    for _ in 0..handle.geometry().sb.inodes_count {
        if other == 0 {
            break;
        }
        let next = next(handle, other)?;
        if next == ino {
            return Ok(Some(other));
        }
        other = next;
    }
    Ok(None)
}

/// The inode behind another one on the list.
fn next(handle: &mut Handle<'_>, ino: u32) -> Result<u32> {
    Ok(Node::read(handle, ino)?.inode()?.i_dtime.get())
}

/// Deletes an inode that is on the list, has no name and is used by nobody: its content in as many changes as that takes, then its attributes
/// and itself.
pub(crate) fn release(volume: &Volume, ino: u32) -> Result<()> {
    let mut end = u64::MAX;
    while end > 0 {
        end = volume.change(|handle| release_part(handle, ino, end))?;
    }
    Ok(())
}

/// One change of that. Returns where the content that is left ends; 0 when there is nothing left at all.
fn release_part(handle: &mut Handle<'_>, ino: u32, end: u64) -> Result<u64> {
    let mut node = Node::read(handle, ino)?;
    if node.inode()?.i_links_count != 0 {
        return Err(Error::corrupt(format!("inode {ino} has names and is to be deleted")));
    }
    if has_map(handle, &node)? {
        let left = map::punch(handle, &mut node, 0, end)?;
        if left > 0 {
            node.write(handle)?;
            return Ok(left);
        }
    }
    xattr::free_block(handle, &mut node)?;
    remove(handle, &mut node)?;
    let was_directory = node.inode()?.file_type() == FileType::Directory;
    let inode = node.inode_mut()?;
    inode.set_size(0);
    inode.delete((now().seconds & 0xFFFF_FFFF) as u32);
    node.write(handle)?;
    alloc::free_inode(handle, ino, was_directory)?;
    Ok(0)
}

/// Makes a file shorter: what is left of it ends before block `from`. `prepare` sets its size and its times in the first change. After a
/// crash between two changes the rest is done when the image is opened again.
pub(crate) fn shorten(
    volume: &Volume,
    ino: u32,
    from: u64,
    prepare: impl FnOnce(&mut Handle<'_>, &mut Node) -> Result<()>,
) -> Result<()> {
    let mut end = volume.change(|handle| {
        let mut node = Node::read(handle, ino)?;
        prepare(handle, &mut node)?;
        let left = map::punch(handle, &mut node, from, u64::MAX)?;
        // One without names is on the list anyway.
        if left > from && node.inode()?.i_links_count != 0 {
            add(handle, &mut node)?;
        }
        node.write(handle)?;
        Ok(left)
    })?;
    while end > from {
        end = volume.change(|handle| shorten_part(handle, ino, from, end))?;
    }
    Ok(())
}

/// One change of that, of an inode that is on the list.
fn shorten_part(handle: &mut Handle<'_>, ino: u32, from: u64, end: u64) -> Result<u64> {
    let mut node = Node::read(handle, ino)?;
    let left = map::punch(handle, &mut node, from, end)?;
    if left <= from && node.inode()?.i_links_count != 0 {
        remove(handle, &mut node)?;
    }
    node.write(handle)?;
    Ok(left)
}

/// Carries out what the last writer of the image has left. Where the list, or something on it, is damaged, the rest is left to e2fsck, as the
/// kernel does it: one file must not keep the image from being written.
///
/// # Errors
/// The device fails, or the journal.
pub(crate) fn clean_up(volume: &Volume) -> Result<()> {
    match free_all(volume) {
        Err(error @ Error::Image(_)) => {
            volume.tell(error);
            volume.note_damage(true)
        }
        done => done,
    }
}

fn free_all(volume: &Volume) -> Result<()> {
    loop {
        let first = volume.look(|handle| Ok(handle.superblock()?.s_last_orphan.get()))?;
        if first == 0 {
            return Ok(());
        }
        let node = volume.look(|handle| orphan(handle, first))?;
        if node.inode()?.i_links_count == 0 {
            release(volume, first)?;
            continue;
        }
        let has_map = volume.look(|handle| has_map(handle, &node))?;
        let block_size = u64::from(volume.geometry.sb.block_size);
        let from = if has_map { node.inode()?.size().div_ceil(block_size) } else { u64::MAX };
        let mut end = u64::MAX;
        loop {
            end = volume.change(|handle| shorten_part(handle, first, from, end))?;
            if end <= from {
                break;
            }
        }
    }
}

/// An inode of the list, if it can be on one.
fn orphan(handle: &mut Handle<'_>, ino: u32) -> Result<Node> {
    let sb = &handle.geometry().sb;
    let is_used = (sb.first_ino..=sb.inodes_count).contains(&ino) && alloc::is_used(handle, ino)?;
    let node = if is_used { Some(Node::read(handle, ino)?) } else { None };
    node.filter(|node| node.inode().is_ok_and(|inode| inode.file_type() != FileType::Unknown))
        .ok_or_else(|| Error::corrupt(format!("the list of orphans leads to inode {ino}, which is none")))
}

/// Whether its pointers lead to blocks.
fn has_map(handle: &Handle<'_>, node: &Node) -> Result<bool> {
    let inode = node.inode()?;
    Ok(match inode.file_type() {
        FileType::Regular | FileType::Directory => true,
        FileType::Symlink => !inode.is_fast_symlink(&handle.geometry().sb),
        _ => false,
    })
}

#[cfg(test)]
mod tests;
