//! What is free: the counts of a group's descriptor and of the superblock, which always change together.

use condatainer_formats::ext::raw::GroupDescriptor;

use crate::error::{Error, Result};
use crate::store::Handle;

/// How many more there are of something, or fewer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Change {
    pub(super) free_blocks: i64,
    pub(super) free_inodes: i64,
    pub(super) directories: i64,
}

/// The descriptor of a group as it is now.
pub(super) fn descriptor(handle: &mut Handle<'_>, group: usize) -> Result<GroupDescriptor> {
    let geometry = handle.geometry();
    let (block, within) = geometry.descriptor_place(group)?;
    let bytes = handle.block(block)?;
    let bytes = bytes.get(within..within + usize::from(geometry.sb.desc_size));
    bytes.map(GroupDescriptor::from_bytes).ok_or_else(|| too_short(group))
}

/// Counts something in a group, and in the whole file system.
pub(super) fn count(handle: &mut Handle<'_>, group: usize, change: Change) -> Result<()> {
    let geometry = handle.geometry();
    let (block, within) = geometry.descriptor_place(group)?;
    let place = handle.change(block)?.get_mut(within..within + usize::from(geometry.sb.desc_size));
    let place = place.ok_or_else(|| too_short(group))?;
    let mut descriptor = GroupDescriptor::from_bytes(place);
    descriptor.add_free_blocks(change.free_blocks);
    descriptor.add_free_inodes(change.free_inodes);
    descriptor.add_used_dirs(change.directories);
    place.copy_from_slice(descriptor.bytes(&geometry.sb));
    let add = |count: u32, more: i64| i64::from(count).saturating_add(more).clamp(0, u32::MAX.into()) as u32;
    handle.change_superblock(|raw| {
        raw.s_free_blocks_count_lo.set(add(raw.s_free_blocks_count_lo.get(), change.free_blocks));
        raw.s_free_inodes_count.set(add(raw.s_free_inodes_count.get(), change.free_inodes));
    })
}

fn too_short(group: usize) -> Error {
    Error::corrupt(format!("the descriptor of group {group} is too short"))
}
