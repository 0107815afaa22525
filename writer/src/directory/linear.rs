//! A directory as a list: every name is looked for from the first block on.

use std::ops::ControlFlow;

use condatainer_formats::ext::raw::{DIR_INDEX, FileType};

use super::blocks;
use super::found::Found;
use super::index::{DOTDOT_AT, Path, broken};
use super::record::Form;
use super::split;
use crate::error::Result;
use crate::inode::Node;
use crate::store::Handle;

/// Looks for a name.
pub(super) fn find(handle: &mut Handle<'_>, dir: &Node, name: &[u8]) -> Result<Option<Found>> {
    let form = Form::of(&handle.geometry().sb);
    blocks::each(handle, dir, 0, |block| {
        let found = form.find(&block.bytes, name)?.map(|record| Found::of(block.physical, record));
        Ok(found.map_or(ControlFlow::Continue(()), ControlFlow::Break))
    })
}

/// Puts a name where there is room. At the second block the directory gets an index, where the file system has them.
pub(super) fn insert(handle: &mut Handle<'_>, dir: &mut Node, new: (&[u8], u32, FileType)) -> Result<()> {
    let geometry = handle.geometry();
    let form = Form::of(&geometry.sb);
    let (name, ino, kind) = new;
    let room = blocks::each(handle, dir, 0, |block| {
        let room = form.room(&block.bytes, name)?.map(|record| (block.physical, record));
        Ok(room.map_or(ControlFlow::Continue(()), ControlFlow::Break))
    })?;
    if let Some((physical, record)) = room {
        return form.put(handle.change(physical)?, record, name, ino, kind);
    }
    if geometry.sb.features.compat & DIR_INDEX != 0 && blocks::count(handle, dir)? == 1 {
        let first = blocks::read(handle, dir, 0)?;
        if split::make_index(handle, dir, &first)? {
            let path = Path::find(handle, dir, |hasher| hasher.hash(name).major)?.ok_or_else(broken)?;
            return split::insert(handle, dir, path, new);
        }
    }
    let (_, physical) = blocks::append(handle, dir)?;
    let bytes = handle.change(physical)?;
    form.write(bytes, 0, bytes.len(), new)
}

/// Gives a new directory its first block.
pub(super) fn make_empty(handle: &mut Handle<'_>, dir: &mut Node, parent: u32) -> Result<()> {
    let form = Form::of(&handle.geometry().sb);
    let (_, physical) = blocks::append(handle, dir)?;
    let bytes = handle.change(physical)?;
    form.write(bytes, 0, DOTDOT_AT, (b".", dir.ino, FileType::Directory))?;
    form.write(bytes, DOTDOT_AT, bytes.len().saturating_sub(DOTDOT_AT), (b"..", parent, FileType::Directory))
}

/// Whether there are no names but `.` and `..`.
pub(super) fn is_empty(handle: &mut Handle<'_>, dir: &Node) -> Result<bool> {
    let form = Form::of(&handle.geometry().sb);
    let name = blocks::each(handle, dir, 0, |block| {
        for record in form.records(&block.bytes) {
            let record = record?;
            if record.ino != 0 && !matches!(record.name(&block.bytes), b"." | b"..") {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(name.is_none())
}
