//! Extended attributes: in the inode, and in a block that several inodes may share.
//!
//! An attribute goes into the inode if there is room for it, else into the block; the kernel looks in both. A block that others share is
//! copied before a change. Access control lists are taken and given in the form of getxattr(2), and lie on the disk in ext's own.
//!
//! The inode is written, and its time of change set, by who calls.

mod acl;
mod block;
mod inside;
mod layout;
mod name;
#[cfg(test)]
mod tests;

use nix::errno::Errno;

use crate::error::Result;
use crate::inode::Node;
use crate::store::Handle;
use block::Block;
pub(crate) use block::free as free_block;
use layout::Attribute;
use name::Key;

/// Bit of `s_feature_compat`: there may be attributes.
const EXT_ATTR: u32 = 0x8;

/// What setxattr(2) is asked for besides the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum How {
    /// To be there in the end.
    #[default]
    Any,
    /// To be new.
    Create,
    /// To be there already.
    Replace,
}

/// Whether it may have attributes; what says no is right.
pub(crate) fn may_have(node: &Node) -> Result<bool> {
    Ok(node.inode()?.file_acl() != 0 || inside::has_any(node)?)
}

/// The value of an attribute; `None` if there is none of that name.
///
/// # Errors
/// No such class of names (`EOPNOTSUPP`), or the attributes are broken.
pub(crate) fn get(handle: &mut Handle<'_>, node: &Node, name: &[u8]) -> Result<Option<Vec<u8>>> {
    let key = Key::of(name)?;
    let mut found = key.take(&mut inside::read(node)?);
    if found.is_none() {
        found = Block::read(handle, node)?.and_then(|mut block| key.take(&mut block.attributes));
    }
    found.map(|attribute| key.shown(attribute.value)).transpose()
}

/// The names of all attributes.
///
/// # Errors
/// The attributes are broken.
pub(crate) fn names(handle: &mut Handle<'_>, node: &Node) -> Result<Vec<Vec<u8>>> {
    let mut all = inside::read(node)?;
    all.extend(Block::read(handle, node)?.into_iter().flat_map(|block| block.attributes));
    Ok(all.iter().filter_map(name::full).collect())
}

/// Sets an attribute. An access control list without entries is one that is removed.
///
/// # Errors
/// `EEXIST`, `ENODATA` (as `how` says), `ENOSPC`, `EOPNOTSUPP` (no such class of names, another version of lists), `EINVAL` (no name, no access control list),
/// `ERANGE` (a long name); or the attributes are broken.
pub(crate) fn set(handle: &mut Handle<'_>, node: &mut Node, name: &[u8], value: &[u8], how: How) -> Result<()> {
    let key = Key::of(name)?;
    let Some(value) = key.on_disk(value)? else { return remove(handle, node, name).map(|_| ()) };
    let (mut inner, mut block) = (inside::read(node)?, Block::read(handle, node)?);
    let old_inner = key.take(&mut inner);
    let old_outer = block.as_mut().and_then(|block| key.take(&mut block.attributes));
    let exists = old_inner.is_some() || old_outer.is_some();
    match how {
        How::Create if exists => return Err(Errno::EEXIST.into()),
        How::Replace if !exists => return Err(Errno::ENODATA.into()),
        _ if old_inner.as_ref().or(old_outer.as_ref()).is_some_and(|old| old.value == value) => return Ok(()),
        _ => {}
    }
    say_that_there_are_some(handle)?;
    let new = Attribute { index: key.index, name: key.name.to_vec(), value };
    inner.push(new.clone());
    if inside::fits(handle, node, &inner)? {
        inside::write(node, &inner)?;
        return if old_outer.is_some() { block::write(handle, node, block) } else { Ok(()) };
    }
    inner.pop();
    let mut block = block.unwrap_or_default();
    block.attributes.push(new);
    block::write(handle, node, Some(block))?;
    if old_inner.is_some() { inside::write(node, &inner) } else { Ok(()) }
}

/// Takes an attribute away; returns whether there was one of that name.
///
/// # Errors
/// No such class of names (`EOPNOTSUPP`), no room for the copy of a shared block (`ENOSPC`), or the attributes are broken.
pub(crate) fn remove(handle: &mut Handle<'_>, node: &mut Node, name: &[u8]) -> Result<bool> {
    let key = Key::of(name)?;
    let mut inner = inside::read(node)?;
    if key.take(&mut inner).is_some() {
        inside::write(node, &inner)?;
        return Ok(true);
    }
    let mut block = Block::read(handle, node)?;
    let found = block.as_mut().and_then(|block| key.take(&mut block.attributes));
    if found.is_some() {
        block::write(handle, node, block)?;
    }
    Ok(found.is_some())
}

/// The first attribute gives the image the feature.
fn say_that_there_are_some(handle: &mut Handle<'_>) -> Result<()> {
    let has_feature = |compat: u32| compat & EXT_ATTR != 0;
    if has_feature(handle.geometry().sb.features.compat) || has_feature(handle.superblock()?.s_feature_compat.get()) {
        return Ok(());
    }
    handle.change_superblock(|raw| raw.s_feature_compat.set(raw.s_feature_compat.get() | EXT_ATTR))
}
