//! The block of attributes of an inode. Inodes whose attributes are the same may share one; the block counts them.

use nix::errno::Errno;

use super::layout::{self, Attribute, broken};
use crate::alloc;
use crate::error::Result;
use crate::inode::Node;
use crate::map;
use crate::store::Handle;

/// Magic, references, blocks, hash, checksum, and zeros.
const HEADER: usize = 32;
const MAGIC: u32 = 0xEA02_0000;

/// What an inode's block has. One that is not on the disk yet has no number.
#[derive(Debug, Clone, Default)]
pub(super) struct Block {
    /// Its number on the disk.
    number: Option<u64>,
    /// How many inodes have it.
    references: u32,
    pub(super) attributes: Vec<Attribute>,
}

impl Block {
    /// That of an inode, if it has one.
    pub(super) fn read(handle: &mut Handle<'_>, node: &Node) -> Result<Option<Self>> {
        let Some((number, references)) = number_and_references(handle, node)? else { return Ok(None) };
        let bytes = handle.block(number)?;
        Ok(Some(Self { number: Some(number), references, attributes: layout::read(&bytes, HEADER)? }))
    }
}

fn number_and_references(handle: &mut Handle<'_>, node: &Node) -> Result<Option<(u64, u32)>> {
    let number = node.inode()?.file_acl();
    if number == 0 {
        return Ok(None);
    }
    handle.geometry().require_free_for_files(number..number.saturating_add(1), "an inode's attributes")?;
    let bytes = handle.block(number)?;
    let word = |at: usize| bytes.get(at..).and_then(|rest| rest.first_chunk()).map(|word| u32::from_le_bytes(*word));
    match (word(0), word(4), word(8)) {
        (Some(MAGIC), Some(references @ 1..), Some(1)) => Ok(Some((number, references))),
        _ => Err(broken()),
    }
}

/// Writes an inode's block: to its place, or to a new one where it had none or others have it too. Without attributes there is none.
///
/// # Errors
/// They do not fit, or there is no block free (`ENOSPC`).
pub(super) fn write(handle: &mut Handle<'_>, node: &mut Node, block: Option<Block>) -> Result<()> {
    let Some(mut block) = block.filter(|block| !block.attributes.is_empty()) else { return free(handle, node) };
    if HEADER + layout::needed(&block.attributes) > handle.geometry().block_size() {
        return Err(Errno::ENOSPC.into());
    }
    block.attributes.sort_by(|a, b| (a.index, a.name.len(), &a.name).cmp(&(b.index, b.name.len(), &b.name)));
    let own = block.number.filter(|_| block.references == 1);
    let number = match own {
        Some(number) => number,
        None => {
            let number = take(handle, node)?;
            free(handle, node)?;
            map::add_blocks(handle, node, 1)?;
            set_number(node, number)?;
            number
        }
    };
    let bytes = handle.change(number)?;
    bytes.fill(0);
    let hashes = layout::write(bytes, HEADER, &block.attributes, true)?;
    let words = [MAGIC, 1, 1, hash_of_all(&hashes)];
    for (place, byte) in bytes.iter_mut().zip(words.iter().flat_map(|word| word.to_le_bytes())) {
        *place = byte;
    }
    Ok(())
}

/// A new block for an inode's attributes, near it.
fn take(handle: &mut Handle<'_>, node: &Node) -> Result<u64> {
    let geometry = handle.geometry();
    let (group, _) = geometry.group_of_inode(node.ino);
    let number = alloc::blocks(handle, geometry.blocks_of(group).start, 1)?.start;
    handle.fresh(number)?;
    Ok(number)
}

/// Takes the block of attributes away from an inode, and gives it back if no other has it. The inode is not written.
///
/// # Errors
/// The block is none of attributes.
pub(crate) fn free(handle: &mut Handle<'_>, node: &mut Node) -> Result<()> {
    let Some((number, references)) = number_and_references(handle, node)? else { return Ok(()) };
    if references == 1 {
        alloc::free_metadata(handle, number)?;
    } else {
        let place = handle.change(number)?.get_mut(4..8).ok_or_else(broken)?;
        place.copy_from_slice(&(references - 1).to_le_bytes());
    }
    map::remove_blocks(handle, node, 1)?;
    set_number(node, 0)
}

fn set_number(node: &mut Node, number: u64) -> Result<()> {
    let inode = node.inode_mut()?;
    inode.i_file_acl_lo.set(u32::try_from(number).map_err(|_| broken())?);
    inode.l_i_file_acl_high.set(0);
    Ok(())
}

/// By which the kernel finds a block that another inode could share; 0 for one that it must not.
fn hash_of_all(hashes: &[u32]) -> u32 {
    if hashes.contains(&0) { 0 } else { hashes.iter().fold(0, |all: u32, hash| all.rotate_left(16) ^ hash) }
}
