//! Names: blocks of entries, and the index over them (htree).
//!
//! A directory that outgrows its first block gets an index where the file system has the feature `dir_index`, and keeps it. One whose index is
//! broken, or of a kind that is not known, is a list; the first name that comes in takes the index away, as the kernel does it.
//!
//! Links are counted, times are set and inodes are written by who calls: a function that takes `&mut Node` leaves it to be written.

mod blocks;
mod found;
mod hash;
mod index;
mod linear;
mod listing;
mod record;
mod split;
#[cfg(test)]
mod tests;

use condatainer_formats::ext::raw::{DIR_INDEX, FileType, check_plain, flag};
use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::inode::Node;
use crate::store::Handle;
pub(crate) use found::{Found, Place};
use index::Path;
pub(crate) use listing::list;
use record::{Form, LONGEST_NAME};

/// Looks for a name; `.` and `..` are names too.
///
/// # Errors
/// `ENOTDIR`, or the directory is broken.
pub(crate) fn find(handle: &mut Handle<'_>, dir: &Node, name: &[u8]) -> Result<Option<Found>> {
    require_directory(dir)?;
    let path = match name {
        b"." | b".." => None,
        _ if !has_index(handle, dir)? => None,
        _ => Path::find(handle, dir, |hasher| hasher.hash(name).major)?,
    };
    match path {
        Some(path) => find_on(handle, dir, path, name),
        None => linear::find(handle, dir, name),
    }
}

/// Names of one hash may go on in the next blocks.
fn find_on(handle: &mut Handle<'_>, dir: &Node, mut path: Path, name: &[u8]) -> Result<Option<Found>> {
    let (form, hash) = (Form::of(&handle.geometry().sb), path.hasher.hash(name).major);
    for _ in 0..blocks::count(handle, dir)? {
        let block = path.read(handle, dir)?;
        if let Some(record) = form.find(&block.bytes, name)? {
            return Ok(Some(Found::of(block.physical, record)));
        }
        if path.next_hash().is_none_or(|next| next & !1 != hash) || path.next(handle, dir)?.is_none() {
            return Ok(None);
        }
    }
    Err(index::broken())
}

/// Puts a name in that is not there yet. Names that were found before may have moved then.
///
/// # Errors
/// `ENOTDIR`, `ENAMETOOLONG`, `EINVAL` (no name), `EEXIST` if it is met on the way, `ENOSPC`; or the directory is broken.
pub(crate) fn insert(handle: &mut Handle<'_>, dir: &mut Node, name: &[u8], ino: u32, kind: FileType) -> Result<()> {
    require_directory(dir)?;
    match name.len() {
        0 => return Err(Errno::EINVAL.into()),
        1..=LONGEST_NAME => {}
        _ => return Err(Errno::ENAMETOOLONG.into()),
    }
    if has_index(handle, dir)?
        && let Some(path) = Path::find(handle, dir, |hasher| hasher.hash(name).major)?
    {
        return split::insert(handle, dir, path, (name, ino, kind));
    }
    // Whatever is left of an index would be wrong from now on.
    dir.inode_mut()?.clear(flag::INDEX);
    linear::insert(handle, dir, (name, ino, kind))
}

/// Takes a name away.
///
/// # Errors
/// It is not where it was.
pub(crate) fn remove(handle: &mut Handle<'_>, dir: &Node, place: &Place) -> Result<()> {
    require_directory(dir)?;
    let form = Form::of(&handle.geometry().sb);
    form.remove(handle.change(place.block)?, place.at, place.ino)
}

/// Lets a name stand for another inode.
///
/// # Errors
/// It is not where it was.
pub(crate) fn replace(handle: &mut Handle<'_>, place: &Place, ino: u32, kind: FileType) -> Result<()> {
    let form = Form::of(&handle.geometry().sb);
    form.replace(handle.change(place.block)?, place.at, place.ino, (ino, kind))
}

/// Gives a new directory its first block, with `.` and `..`.
///
/// # Errors
/// `ENOSPC`.
pub(crate) fn make_empty(handle: &mut Handle<'_>, dir: &mut Node, parent: u32) -> Result<()> {
    require_directory(dir)?;
    linear::make_empty(handle, dir, parent)
}

/// Whether it has no names but `.` and `..`.
///
/// # Errors
/// `ENOTDIR`, or the directory is broken.
pub(crate) fn is_empty(handle: &mut Handle<'_>, dir: &Node) -> Result<bool> {
    require_directory(dir)?;
    linear::is_empty(handle, dir)
}

fn require_directory(dir: &Node) -> Result<()> {
    let inode = dir.inode()?;
    if inode.file_type() != FileType::Directory {
        return Err(Errno::ENOTDIR.into());
    }
    check_plain(inode, "a directory").map_err(Error::from)
}

fn has_index(handle: &Handle<'_>, dir: &Node) -> Result<bool> {
    Ok(handle.geometry().sb.features.compat & DIR_INDEX != 0 && dir.inode()?.has(flag::INDEX))
}
