//! All names of a directory.

use std::ops::ControlFlow;

use super::blocks::{check_plain, each_block};
use super::entry::{Entries, Entry};
use crate::ext::error::ExtError;
use crate::ext::fs::Fs;
use crate::ext::inode::Inode;

/// Calls `visit` with every entry of a directory but `.` and `..`, in the order of the disk, until it breaks.
///
/// # Errors
/// Not a directory, or a broken one.
pub fn each_entry(
    fs: &Fs<'_>,
    dir: &Inode,
    visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, ExtError> {
    check_plain(dir, "a directory")?;
    each_block(fs, dir, |block| {
        for entry in Entries::of(block, &fs.sb) {
            let entry = entry?;
            if entry.name != b"." && entry.name != b".." && visit(entry).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    })
}
