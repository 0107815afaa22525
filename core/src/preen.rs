//! `e2fsck -p` that can be killed at any instant.
//!
//! Almost all that it repairs can be cut off and done again. But where the feature `dir_index` is set it also gives an index to
//! each directory of three blocks and more that has none, which are those that fuse2fs has written to, and it does so in place:
//! a kill in the middle takes the names of half of the files (seen with e2fsprogs 1.47; `-E fixes_only` does not prevent it). So
//! it does not get to see that feature while there are such directories. A kill in between leaves an image without the feature,
//! which loses nothing: fuse2fs never uses an index, the kernel searches a little longer.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::chown::{Holes, Members, each_chunk};
use crate::e2fsprogs::{self, CORRECTED, ToolError};
use crate::ext::ExtError;
use crate::ext::raw::{COMPAT_AT, DIR_INDEX, FileType, Fs, Inode, flag};
use crate::held::Held;

const TOOL: &str = "e2fsck";
/// From this number of blocks on e2fsck makes an index.
const LARGE: u64 = 3;

/// Runs `e2fsck`, which is to preen the image that `held` has for itself, with everything around it that makes this safe.
pub(crate) fn preen<T>(held: &Held, e2fsck: impl FnOnce() -> Result<T, ToolError>) -> Result<T, ToolError> {
    replay(held)?;
    let hidden = hide_index(held).map_err(failed)?;
    let outcome = e2fsck();
    if let Some(compat) = hidden {
        write_compat(held, compat).map_err(failed)?;
    }
    outcome
}

fn failed(error: io::Error) -> ToolError {
    ToolError::Failed { tool: TOOL, said: format!("the superblock cannot be written: {error}") }
}

/// Nothing may be written over a journal, so it is replayed by itself first; that can be done again as often as one likes.
fn replay(held: &Held) -> Result<(), ToolError> {
    if !held.state().is_ok_and(|state| state.needs_recovery) {
        return Ok(());
    }
    let mut command = held.tool(TOOL)?;
    e2fsprogs::run(TOOL, command.args(["-p", "-E", "journal_only"]).arg(held.tools_name()), CORRECTED)
}

/// Takes the feature away, and hands back what to write when e2fsck has ended.
///
/// Superblocks with a checksum are left alone; Apptainer takes no such image.
fn hide_index(held: &Held) -> io::Result<Option<u32>> {
    let Ok(fs) = Fs::open(&held.file, held.window, u64::MAX) else { return Ok(None) };
    let compat = fs.sb.features.compat;
    if compat & DIR_INDEX == 0 || fs.sb.has_metadata_csum() || !has_large_plain_directories(&fs, &held.file) {
        return Ok(None);
    }
    write_compat(held, compat & !DIR_INDEX)?;
    Ok(Some(compat))
}

/// Four bytes in one page: either they are there or not.
fn write_compat(held: &Held, compat: u32) -> io::Result<()> {
    held.file.write_all_at(&compat.to_le_bytes(), held.window.offset + COMPAT_AT)?;
    held.file.sync_data()
}

/// Where the tables cannot be read, they may as well be there.
fn has_large_plain_directories(fs: &Fs<'_, File>, file: &File) -> bool {
    let mut found = false;
    let all = Members::AllBut(Vec::new());
    let looked = each_chunk(fs, &all, Holes::Skip(file), &mut |_| {}, |chunk| {
        found |=
            chunk.live().any(|(_, _, raw)| Inode::from_bytes(raw).is_some_and(|inode| is_large_and_plain(fs, &inode)));
        Ok::<(), ExtError>(())
    });
    found || looked.is_err()
}

fn is_large_and_plain(fs: &Fs<'_, File>, inode: &Inode) -> bool {
    let large = inode.size >= LARGE * u64::from(fs.sb.block_size);
    large && inode.file_type() == FileType::Directory && !inode.has(flag::INDEX)
}
