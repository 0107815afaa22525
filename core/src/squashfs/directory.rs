//! The names of a directory: runs of entries that share an inode block.

use super::Squashfs;
use super::error::SquashfsError;
use super::inode::{Body, Inode, Reference, kind};
use super::metadata::{Cursor, field};
use crate::ext::{FileType, ReadAt};

/// The stored length counts `.` and `..`, which are not stored.
const UNSTORED: u32 = 3;
const RUN_HEADER: u32 = 12;
const ENTRY_HEADER: u32 = 8;
const RUN_LENGTH: u32 = 256;
const LONGEST_NAME: u32 = 256;
/// More than a million names: a longer list is refused, so that a small image cannot fill the memory.
const LARGEST: u32 = 64 << 20;

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

pub(super) fn read<R: ReadAt>(image: &Squashfs<R>, directory: &Inode) -> Result<Vec<Entry>, SquashfsError> {
    let Body::Directory(place, size) = directory.body else {
        return Err(SquashfsError::Corrupt("something that is no directory was to be listed"));
    };
    if size > LARGEST {
        return Err(SquashfsError::Unsupported("a directory with millions of names".into()));
    }
    let (mut entries, mut left) = (Vec::new(), size.saturating_sub(UNSTORED));
    if left > 0 {
        let mut cursor = image.cursor(image.sb.directory_table, place)?;
        while left > 0 {
            left = read_run(&mut cursor, left, &mut entries)?;
        }
    }
    Ok(entries)
}

/// Reads entries that share an inode block. Returns how much of the list is left.
fn read_run<R: ReadAt>(cursor: &mut Cursor<'_, R>, left: u32, entries: &mut Vec<Entry>) -> Result<u32, SquashfsError> {
    let run: [u8; 12] = cursor.array()?;
    let (count, block) = (u32::from_le_bytes(field(&run, 0)), u32::from_le_bytes(field(&run, 4)));
    let mut left = spend(left, RUN_HEADER)?;
    if count >= RUN_LENGTH {
        return Err(SquashfsError::Corrupt("a directory has an impossible run of names"));
    }
    for _ in 0..=count {
        let (entry, length) = read_entry(cursor, block)?;
        left = spend(left, length)?;
        entries.push(entry);
    }
    Ok(left)
}

/// One entry, and its length in the list.
fn read_entry<R: ReadAt>(cursor: &mut Cursor<'_, R>, block: u32) -> Result<(Entry, u32), SquashfsError> {
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
