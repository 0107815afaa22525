//! Attributes in the inode itself, behind its fields; there is room where inodes are longer than 128 bytes.

use condatainer_formats::ext::raw::InodeRecord;

use super::layout::{self, Attribute, broken};
use crate::error::Result;
use crate::inode::Node;
use crate::store::Handle;

const MAGIC: [u8; 4] = 0xEA02_0000_u32.to_le_bytes();
/// What the kernel knows behind the first 128 bytes of an inode.
const KNOWN_EXTRA: u16 = 32;

/// Whether there are any.
pub(super) fn has_any(node: &Node) -> Result<bool> {
    Ok(area(node.record()?).is_some())
}

pub(super) fn read(node: &Node) -> Result<Vec<Attribute>> {
    area(node.record()?).map_or(Ok(Vec::new()), |area| layout::read(area, 0))
}

/// What is behind the magic.
fn area(record: &InodeRecord) -> Option<&[u8]> {
    let has_fields = record.extra_isize().is_some_and(|extra_isize| extra_isize != 0);
    record.attributes().filter(|_| has_fields)?.strip_prefix(&MAGIC)
}

/// Whether there is room for these, and for no others. A long inode that says of none of its bytes that they are fields has been written by
/// somebody who did not know of them; it is made one as the kernel knows them.
pub(super) fn fits(handle: &Handle<'_>, node: &mut Node, attributes: &[Attribute]) -> Result<bool> {
    let extra = usize::from(handle.geometry().sb.inode_size.saturating_sub(128));
    if extra > usize::from(KNOWN_EXTRA) && node.record()?.extra_isize() == Some(0) {
        node.record_mut()?.make_extra(KNOWN_EXTRA);
    }
    let room = node.record()?.attributes().map_or(0, <[u8]>::len);
    Ok(MAGIC.len() + layout::needed(attributes) <= room)
}

/// Writes all of them.
pub(super) fn write(node: &mut Node, attributes: &[Attribute]) -> Result<()> {
    let record: &mut InodeRecord = node.record_mut()?;
    let room = record.attributes_mut().ok_or_else(broken)?;
    let (magic, area) = room.split_at_mut_checked(MAGIC.len()).ok_or_else(broken)?;
    // The kernel writes no hashes here.
    layout::write(area, 0, attributes, false)?;
    magic.copy_from_slice(if attributes.is_empty() { &[0; 4] } else { &MAGIC });
    Ok(())
}
