//! `e2fsck -p` that can be killed at any instant, and takes no index away.
//!
//! Almost all that it repairs can be cut off and done again. But where the feature `dir_index` is set it also gives an index to
//! each directory of three blocks and more that has none, which are those that fuse2fs has written to, and it does so in place:
//! a kill in the middle takes the names of half of the files (seen with e2fsprogs 1.47; `-E fixes_only` does not prevent it). It
//! rebuilds an index that it finds damaged in the same way. So it never gets to see that feature.
//!
//! Nor does it get to answer what it then asks: whether the indexes that are there should go ([`crate::tools::e2fsck`]). It
//! checks them as it always does.
//!
//! Afterwards that one bit is put back. A kill in between leaves an image without the feature, which loses nothing: fuse2fs never
//! uses an index, the kernel searches a little longer, and both take the mark of an index from a directory that they write to. So
//! the next run can put the bit back for the directories that still have one.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::locked::LockedImage;
use crate::sparse::next_data;
use crate::tools::ToolError;
use crate::tools::e2fsck::{self, CORRECTED, Work};
use condatainer_formats::ext::ExtError;
use condatainer_formats::ext::raw::{
    COMPAT_AT, DIR_INDEX, Endless, FileType, Fs, Holes, Inode, Pointers, each_chunk, flag,
};

/// Calls `run`, in which e2fsck is to repair (`-p`) the image that `locked` has for itself, with everything around it that makes this safe.
pub(crate) fn automatic_repair<T>(
    locked: &LockedImage,
    run: impl FnOnce() -> Result<T, ToolError>,
) -> Result<T, ToolError> {
    refuse_endless(locked)?;
    replay(locked)?;
    let hidden = hide_index(locked).map_err(failed)?;
    let outcome = run();
    if hidden {
        show_index(locked).map_err(failed)?;
    }
    outcome
}

/// Refuses an image with which e2fsck would not come to an end: anybody can make one, and hand it to somebody else. Our own reader
/// tells in milliseconds. What it cannot read is left to e2fsck.
pub(crate) fn refuse_endless(locked: &LockedImage) -> Result<(), ToolError> {
    let Ok(fs) = Fs::open(&locked.file, locked.window, u64::MAX) else { return Ok(()) };
    let mut pointers = Pointers::of(&fs);
    // The list of bad blocks is followed, too, whatever its inode says.
    let bad_blocks = fs.inode(1).map_or(Ok(()), |inode| pointers.follow(&inode));
    let next_data = |from, end| next_data(&locked.file, from, end);
    let looked = each_chunk(&fs, &|_, _| true, Holes::Skip(&next_data), &mut |_| {}, |chunk| {
        let looked = chunk.live().try_for_each(|(_, _, record)| pointers.follow(&record.inode));
        looked.map_err(|Endless| Look::Endless)
    });
    match (bad_blocks, looked) {
        (Err(Endless), _) | (_, Err(Look::Endless)) => Err(ToolError::Endless { tool: e2fsck::NAME }),
        _ => Ok(()),
    }
}

/// Why a look through all inodes ended.
enum Look {
    Endless,
    Unreadable,
}

impl From<ExtError> for Look {
    fn from(_: ExtError) -> Self {
        Self::Unreadable
    }
}

/// Puts the feature back that a killed run has hidden. The image is clean, and `locked` has it for itself.
pub(crate) fn unhide_index(locked: &LockedImage) -> Result<(), ToolError> {
    if is_left_hidden(locked) { show_index(locked).map_err(failed) } else { Ok(()) }
}

fn failed(error: io::Error) -> ToolError {
    ToolError::Failed { tool: e2fsck::NAME, said: format!("the superblock cannot be written: {error}") }
}

/// Nothing may be written over a journal, so it is replayed by itself first; that can be done again as often as one likes.
fn replay(locked: &LockedImage) -> Result<(), ToolError> {
    let needs_recovery = || locked.state().is_ok_and(|state| state.needs_recovery);
    if !needs_recovery() {
        return Ok(());
    }
    locked.recover();
    if !needs_recovery() {
        return Ok(());
    }
    locked.e2fsck(Work::Journal)?.run(CORRECTED).map(drop)
}

/// Takes the feature away, and tells whether it is to be put back when e2fsck has ended.
fn hide_index(locked: &LockedImage) -> io::Result<bool> {
    match features(locked) {
        Some(compat) if compat & DIR_INDEX != 0 => write_compat(locked, compat & !DIR_INDEX).map(|()| true),
        _ => Ok(is_left_hidden(locked)),
    }
}

/// Whatever e2fsck has made of the other features stays.
fn show_index(locked: &LockedImage) -> io::Result<()> {
    features(locked).map_or(Ok(()), |compat| write_compat(locked, compat | DIR_INDEX))
}

/// The word that holds the feature. Superblocks with a checksum are left alone; Apptainer takes no such image.
fn features(locked: &LockedImage) -> Option<u32> {
    let fs = Fs::open(&locked.file, locked.window, u64::MAX).ok()?;
    (!fs.sb.has_metadata_csum()).then_some(fs.sb.features.compat)
}

/// Four bytes in one page: either they are there or not.
fn write_compat(locked: &LockedImage, compat: u32) -> io::Result<()> {
    locked.file.write_all_at(&compat.to_le_bytes(), locked.window.offset + COMPAT_AT)?;
    locked.file.sync_data()
}

/// Whether a killed run has taken the feature away: then a directory has an index nevertheless. The tables are read for that only
/// where the feature is not there.
fn is_left_hidden(locked: &LockedImage) -> bool {
    let hidden = features(locked).is_some_and(|compat| compat & DIR_INDEX == 0);
    hidden && Fs::open(&locked.file, locked.window, u64::MAX).is_ok_and(|fs| has_indexed_directories(&fs, &locked.file))
}

fn has_indexed_directories(fs: &Fs<'_>, file: &File) -> bool {
    let is_indexed = |inode: &Inode| inode.file_type() == FileType::Directory && inode.has(flag::INDEX);
    let mut found = false;
    let next_data = |from, end| next_data(file, from, end);
    let looked = each_chunk(fs, &|_, _| true, Holes::Skip(&next_data), &mut |_| {}, |chunk| {
        found |= chunk.live().any(|(_, _, record)| is_indexed(&record.inode));
        Ok::<(), ExtError>(())
    });
    looked.is_ok() && found
}
