//! Looking up names in a directory: by its index where that leads to them, else by a scan.

use std::ops::ControlFlow;

use super::blocks::{block_count, each_block};
use super::entry::pick;
use super::htree;
use crate::ext::error::ExtError;
use crate::ext::fs::Fs;
use crate::ext::inode::{Inode, flag};

/// The inode behind each of `names`, which must be ASCII; `None` where the directory has no such name.
///
/// An indexed directory costs one lookup per name, any other a scan that ends with the last name found.
pub(crate) fn lookup<const N: usize>(
    fs: &Fs<'_>,
    dir: &Inode,
    names: [&[u8]; N],
) -> Result<[Option<u32>; N], ExtError> {
    if dir.has(flag::INDEX) && block_count(&fs.sb, dir) > 2 {
        let found = htree::lookup(fs, dir, names)?;
        if found.iter().all(Option::is_some) {
            return Ok(found);
        }
    }
    scan(fs, dir, names)
}

/// The inode behind each of `names`, which may be any; `None` where the directory has no such name. The index is not used.
///
/// # Errors
/// A hole, a broken map or a broken entry.
pub fn scan<const N: usize>(fs: &Fs<'_>, dir: &Inode, names: [&[u8]; N]) -> Result<[Option<u32>; N], ExtError> {
    let mut found = [None; N];
    let _ = each_block(fs, dir, |block| {
        pick(block, &fs.sb, names, &mut found)?;
        Ok(if found.iter().all(Option::is_some) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(found)
}
