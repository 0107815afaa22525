//! Inodes: fourteen forms of the same few facts.

use super::blocks::{Blocks, Cursor, Position, field};
use super::error::SquashfsError;
use super::ids::IdTable;
use super::reference::Reference;
use crate::file::{FileType, Ids, device as device_number};

const HEADER: usize = 16;
/// In place of a fragment or of attributes: there are none.
const NONE: u32 = u32::MAX;
/// The longest target that a symbolic link can have.
const LONGEST_TARGET: u32 = 4096;

/// What an inode says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inode {
    /// What it is.
    pub kind: FileType,
    /// Permission bits (the low twelve).
    pub mode: u16,
    /// Owner and group.
    pub ids: Ids,
    /// Last change of the content, in seconds since 1970.
    pub mtime: i64,
    /// In bytes: of a file its content, of a link its target, else 0.
    pub size: u64,
    /// Number of names.
    pub links: u32,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Where a symbolic link leads.
    pub target: Option<Vec<u8>>,
    pub(super) xattr: Option<u32>,
    pub(super) body: Body,
}

impl Inode {
    /// The length of a directory's list as the image tells it, which is what stat(2) shows where the kernel has mounted it.
    #[must_use]
    pub fn list_length(&self) -> u32 {
        if let Body::Directory { length, .. } = self.body { length } else { 0 }
    }

    /// Whether an index of a directory's names lies behind the inode.
    pub(super) fn has_index(&self) -> bool {
        matches!(self.body, Body::Directory { has_index: true, .. })
    }

    /// So many bytes of a file are holes, as far as the image tells.
    pub(super) fn holes(&self) -> u64 {
        if let Body::File(file) = &self.body { file.sparse } else { 0 }
    }
}

/// Where the rest of an inode lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    /// The place of the names in the directory table and their length.
    Directory { place: Reference, length: u32, has_index: bool },
    /// The blocks of a file.
    File(FileBody),
    /// Everything is said.
    Nothing,
}

/// Where the content of a file lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileBody {
    /// Where its blocks begin, one behind the other.
    pub(super) start: u64,
    /// The fragment that has its end, and the offset in it.
    pub(super) fragment: Option<(u32, u32)>,
    /// The list of the sizes of its blocks.
    pub(super) list: Position,
    /// So many bytes of it are holes, as far as the image tells.
    pub(super) sparse: u64,
}

/// What the inode at `reference` says.
pub(super) fn read(blocks: &Blocks, ids: &IdTable, reference: Reference) -> Result<Inode, SquashfsError> {
    next(ids, &mut blocks.cursor(blocks.sb.inode_table_start.get(), reference)?)
}

/// What the inode at a cursor says, which then is behind it, but for the list of a file's blocks and the index of a directory.
pub(super) fn next(ids: &IdTable, cursor: &mut Cursor<'_>) -> Result<Inode, SquashfsError> {
    let header: [u8; HEADER] = cursor.array()?;
    let number = |at| u16::from_le_bytes(field(&header, at));
    let code = number(0);
    let inode = Inode {
        kind: kind(code).ok_or(SquashfsError::Corrupt("an inode has an unknown type"))?,
        mode: number(2) & 0o7777,
        ids: ids.owner(number(4), number(6))?,
        mtime: i64::from(u32::from_le_bytes(field(&header, 8))),
        size: 0,
        links: 1,
        device: (0, 0),
        target: None,
        xattr: None,
        body: Body::Nothing,
    };
    match code {
        1 => directory(inode, cursor),
        8 => extended_directory(inode, cursor),
        2 => file(inode, cursor),
        9 => extended_file(inode, cursor),
        3 | 10 => link(inode, cursor, code > 7),
        4 | 5 | 11 | 12 => device(inode, cursor, code > 7),
        _ => simple(inode, cursor, code > 7),
    }
}

/// The type of an inode, basic or extended; a directory names the basic one.
pub(super) fn kind(code: u16) -> Option<FileType> {
    match code {
        1 | 8 => Some(FileType::Directory),
        2 | 9 => Some(FileType::Regular),
        3 | 10 => Some(FileType::Symlink),
        4 | 11 => Some(FileType::BlockDevice),
        5 | 12 => Some(FileType::CharDevice),
        6 | 13 => Some(FileType::Fifo),
        7 | 14 => Some(FileType::Socket),
        _ => None,
    }
}

fn some(number: u32) -> Option<u32> {
    Some(number).filter(|number| *number != NONE)
}

fn directory(inode: Inode, cursor: &mut Cursor<'_>) -> Result<Inode, SquashfsError> {
    let raw: [u8; 16] = cursor.array()?;
    let place = Reference::new(u32::from_le_bytes(field(&raw, 0)), u16::from_le_bytes(field(&raw, 10)));
    let length = u32::from(u16::from_le_bytes(field(&raw, 8)));
    let body = Body::Directory { place, length, has_index: false };
    Ok(Inode { links: u32::from_le_bytes(field(&raw, 4)), body, ..inode })
}

fn extended_directory(inode: Inode, cursor: &mut Cursor<'_>) -> Result<Inode, SquashfsError> {
    let raw: [u8; 24] = cursor.array()?;
    let place = Reference::new(u32::from_le_bytes(field(&raw, 8)), u16::from_le_bytes(field(&raw, 18)));
    Ok(Inode {
        links: u32::from_le_bytes(field(&raw, 0)),
        xattr: some(u32::from_le_bytes(field(&raw, 20))),
        body: Body::Directory {
            place,
            length: u32::from_le_bytes(field(&raw, 4)),
            has_index: u16::from_le_bytes(field(&raw, 16)) != 0,
        },
        ..inode
    })
}

fn file(inode: Inode, cursor: &mut Cursor<'_>) -> Result<Inode, SquashfsError> {
    let raw: [u8; 16] = cursor.array()?;
    let word = |at| u32::from_le_bytes(field(&raw, at));
    let fragment = some(word(4)).map(|number| (number, word(8)));
    let body = FileBody { start: u64::from(word(0)), fragment, list: cursor.position(), sparse: 0 };
    Ok(Inode { size: u64::from(word(12)), body: Body::File(body), ..inode })
}

fn extended_file(inode: Inode, cursor: &mut Cursor<'_>) -> Result<Inode, SquashfsError> {
    let raw: [u8; 40] = cursor.array()?;
    let (word, long) = (|at| u32::from_le_bytes(field(&raw, at)), |at| u64::from_le_bytes(field(&raw, at)));
    let fragment = some(word(28)).map(|number| (number, word(32)));
    let body = FileBody { start: long(0), fragment, list: cursor.position(), sparse: long(16) };
    Ok(Inode { size: long(8), links: word(24), xattr: some(word(36)), body: Body::File(body), ..inode })
}

fn link(inode: Inode, cursor: &mut Cursor<'_>, extended: bool) -> Result<Inode, SquashfsError> {
    let (links, size) = (cursor.u32()?, cursor.u32()?);
    if size > LONGEST_TARGET {
        return Err(SquashfsError::Corrupt("the target of a symbolic link is too long"));
    }
    let target = cursor.bytes(usize::try_from(size).unwrap_or(0))?;
    let xattr = if extended { some(cursor.u32()?) } else { None };
    Ok(Inode { links, size: u64::from(size), target: Some(target), xattr, ..inode })
}

fn device(inode: Inode, cursor: &mut Cursor<'_>, extended: bool) -> Result<Inode, SquashfsError> {
    let (links, code) = (cursor.u32()?, cursor.u32()?);
    let xattr = if extended { some(cursor.u32()?) } else { None };
    Ok(Inode { links, device: device_number(code), xattr, ..inode })
}

fn simple(inode: Inode, cursor: &mut Cursor<'_>, extended: bool) -> Result<Inode, SquashfsError> {
    let links = cursor.u32()?;
    let xattr = if extended { some(cursor.u32()?) } else { None };
    Ok(Inode { links, xattr, ..inode })
}
