//! Extended attributes: shared lists of names and values.

use super::blocks::{Blocks, Cursor, field};
use super::error::SquashfsError;
use super::inode::Inode;
use super::reference::Reference;
use crate::file::Xattr;

/// The header of the table: the start of the lists, and how many there are.
const HEADER: u64 = 16;
const RECORD_LENGTH: u64 = 16;
/// In the type of an attribute: its value lies elsewhere.
const ELSEWHERE: u16 = 0x100;
/// The kernel's limit for one value, in bytes.
const LARGEST_VALUE: u32 = 64 * 1024;
/// What all attributes of a file may take, in bytes; no file system that an image is made from keeps as much.
const MOST: usize = 4 << 20;
/// What one takes in memory, however short it is.
const EACH: usize = 64;

pub(super) fn read(blocks: &Blocks, inode: &Inode) -> Result<Vec<Xattr>, SquashfsError> {
    let Some(List { lists, place, count, .. }) = list(blocks, inode)? else { return Ok(Vec::new()) };
    let (mut cursor, mut all, mut length) = (blocks.cursor(lists, place)?, Vec::new(), 0);
    for _ in 0..count {
        let xattr = one(blocks, lists, &mut cursor)?;
        length += xattr.as_ref().map_or(0, |xattr| xattr.name.len() + xattr.value.len()) + EACH;
        all.extend(xattr);
        if length > MOST {
            return Err(SquashfsError::Corrupt("an inode has impossibly many attributes"));
        }
    }
    Ok(all)
}

/// The length of an inode's list in bytes, as the image tells it.
pub(super) fn length(blocks: &Blocks, inode: &Inode) -> Result<Option<u32>, SquashfsError> {
    Ok(list(blocks, inode)?.map(|list| list.length))
}

/// Where the list of an inode is, in the table at `lists`.
struct List {
    lists: u64,
    place: Reference,
    count: u32,
    length: u32,
}

fn list(blocks: &Blocks, inode: &Inode) -> Result<Option<List>, SquashfsError> {
    let (Some(table), Some(number)) = (blocks.sb.xattr_table(), inode.xattr) else { return Ok(None) };
    let mut header = [0; HEADER as usize];
    blocks.read_into(&mut header, table)?;
    let lists = u64::from_le_bytes(field(&header, 0));
    if number >= u32::from_le_bytes(field(&header, 8)) {
        return Err(SquashfsError::Corrupt("an inode has attributes that do not exist"));
    }
    let record: [u8; 16] = blocks.table(table + HEADER, u64::from(number) * RECORD_LENGTH)?.array()?;
    let word = |at| u32::from_le_bytes(field(&record, at));
    let place = Reference(u64::from_le_bytes(field(&record, 0)));
    Ok(Some(List { lists, place, count: word(8), length: word(12) }))
}

/// The next one; nothing where its prefix is unknown, as the kernel does it.
fn one(blocks: &Blocks, lists: u64, cursor: &mut Cursor<'_>) -> Result<Option<Xattr>, SquashfsError> {
    let (kind, length) = (cursor.u16()?, cursor.u16()?);
    let name = cursor.bytes(usize::from(length))?;
    let stored = value(cursor)?;
    let prefix: &[u8] = match kind & 0xFF {
        0 => b"user.",
        1 => b"trusted.",
        2 => b"security.",
        _ => return Ok(None),
    };
    let name = [prefix, &name].concat();
    if kind & ELSEWHERE == 0 {
        return Ok(Some(Xattr { name, value: stored }));
    }
    let place = Reference(u64::from_le_bytes(field(&stored, 0)));
    Ok(Some(Xattr { name, value: value(&mut blocks.cursor(lists, place)?)? }))
}

fn value(cursor: &mut Cursor<'_>) -> Result<Vec<u8>, SquashfsError> {
    match cursor.u32()? {
        size if size <= LARGEST_VALUE => cursor.bytes(usize::try_from(size).unwrap_or(0)),
        _ => Err(SquashfsError::Corrupt("an attribute's value is too long")),
    }
}
