//! Looking up names in a directory, by a scan of its blocks: whoever asks wants names in directories of a few blocks, for which an
//! index (`dir_index`) does not pay.

use std::ops::ControlFlow;

use super::blocks::each_block;
use super::entry::pick;
use crate::ext::error::ExtError;
use crate::ext::fs::Fs;
use crate::ext::inode::Inode;

/// The inode behind each of `names`; `None` where the directory has no such name. It ends with the last name found.
///
/// # Errors
/// A hole, a broken map or a broken entry.
pub fn lookup<const N: usize>(fs: &Fs<'_>, dir: &Inode, names: [&[u8]; N]) -> Result<[Option<u32>; N], ExtError> {
    let mut found = [None; N];
    let _ = each_block(fs, dir, |block| {
        pick(block, &fs.sb, names, &mut found)?;
        Ok(if found.iter().all(Option::is_some) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(found)
}
