//! The names of a directory: runs of entries that share an inode block.

use super::blocks::{Blocks, Cursor, field};
use super::error::SquashfsError;
use super::inode::{Body, Inode, kind};
use super::reference::Reference;
use crate::file::FileType;

/// The stored length counts `.` and `..`, which are not stored.
const UNSTORED: u32 = 3;
const RUN_HEADER: u32 = 12;
const ENTRY_HEADER: u32 = 8;
const RUN_LENGTH: u32 = 256;
const LONGEST_NAME: u32 = 255;
/// A longer list is refused, in bytes and in names: packed, it takes next to nothing, so a small image could fill the memory.
const LARGEST: u32 = 32 << 20;
const MOST_NAMES: usize = 500_000;

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Any bytes but `/` and NUL.
    pub name: Vec<u8>,
    /// Its inode.
    pub reference: Reference,
    /// What the directory says that it is.
    pub kind: FileType,
}

/// All names of a directory, in the order of the image.
pub(super) fn read(blocks: &Blocks, directory: &Inode) -> Result<Vec<Entry>, SquashfsError> {
    let mut entries = Vec::new();
    each(blocks, directory, &mut |entry| {
        entries.push(entry);
        true
    })?;
    Ok(entries)
}

/// Calls `visit` with each name, in the order of the image, until it returns false.
pub(super) fn each(
    blocks: &Blocks,
    directory: &Inode,
    visit: &mut dyn FnMut(Entry) -> bool,
) -> Result<(), SquashfsError> {
    let Body::Directory { place, length: size, .. } = directory.body else {
        return Err(SquashfsError::Corrupt("something that is no directory was to be listed"));
    };
    let (mut names, mut left) = (0, size.saturating_sub(UNSTORED));
    if left == 0 {
        return Ok(());
    }
    let mut cursor = blocks.cursor(blocks.sb.directory_table_start.get(), place)?;
    while left > 0 {
        if size > LARGEST || names > MOST_NAMES {
            return Err(SquashfsError::Crowded(MOST_NAMES));
        }
        let Some(run) = read_run(&mut cursor, left, visit)? else { break };
        (left, names) = (run.0, names + run.1);
    }
    Ok(())
}

/// Reads entries that share an inode block. Returns how much of the list is left, and how many they were; nothing where no more are
/// wanted.
fn read_run(
    cursor: &mut Cursor<'_>,
    left: u32,
    visit: &mut dyn FnMut(Entry) -> bool,
) -> Result<Option<(u32, usize)>, SquashfsError> {
    let run: [u8; 12] = cursor.array()?;
    let (count, block) = (u32::from_le_bytes(field(&run, 0)), u32::from_le_bytes(field(&run, 4)));
    let mut left = spend(left, RUN_HEADER)?;
    if count >= RUN_LENGTH {
        return Err(SquashfsError::Corrupt("a directory has an impossible run of names"));
    }
    for _ in 0..=count {
        let (entry, length) = read_entry(cursor, block)?;
        left = spend(left, length)?;
        if !visit(entry) {
            return Ok(None);
        }
    }
    Ok(Some((left, count as usize + 1)))
}

/// One entry, and its length in the list.
fn read_entry(cursor: &mut Cursor<'_>, block: u32) -> Result<(Entry, u32), SquashfsError> {
    let raw: [u8; 8] = cursor.array()?;
    let word = |at| u16::from_le_bytes(field(&raw, at));
    let length = u32::from(word(6)) + 1;
    let kind = kind(word(4)).ok_or(SquashfsError::Corrupt("a name has an unknown type"))?;
    let name = sound(cursor.bytes(usize::try_from(length.min(LONGEST_NAME)).unwrap_or(0))?, length)?;
    Ok((Entry { name, reference: Reference::new(block, word(0)), kind }, ENTRY_HEADER + length))
}

fn spend(left: u32, length: u32) -> Result<u32, SquashfsError> {
    left.checked_sub(length).ok_or(SquashfsError::Corrupt("a directory is longer than it says"))
}

fn sound(name: Vec<u8>, length: u32) -> Result<Vec<u8>, SquashfsError> {
    let impossible =
        length > LONGEST_NAME || name == b"." || name == b".." || name.iter().any(|b| matches!(b, b'/' | 0));
    match impossible {
        true => Err(SquashfsError::Corrupt("a directory has a name that no file can have")),
        false => Ok(name),
    }
}
