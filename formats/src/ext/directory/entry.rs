//! The entries of one directory block: reading them, and changing one in its place.

use crate::bytes::{u8_at, u16_at, u32_at};
use crate::ext::error::ExtError;
use crate::ext::superblock::Superblock;
use crate::file::FileType;

const HEADER: usize = 8;
/// In the order of the type byte of an entry, from 1.
const TYPES: [FileType; 7] = [
    FileType::Regular,
    FileType::Directory,
    FileType::CharDevice,
    FileType::BlockDevice,
    FileType::Fifo,
    FileType::Socket,
    FileType::Symlink,
];

/// From the type byte of an entry; `None` when it does not tell.
#[must_use]
pub fn type_of(code: u8) -> Option<FileType> {
    TYPES.get(usize::from(code).checked_sub(1)?).copied()
}

/// The type byte of an entry; 0 tells nothing.
#[must_use]
pub fn code_of(kind: FileType) -> u8 {
    (1..).zip(TYPES).find(|(_, known)| *known == kind).map_or(0, |(code, _)| code)
}

/// One name in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its inode.
    pub ino: u32,
    /// Unchecked; not empty.
    pub name: &'a [u8],
    /// What the entry claims, where it does.
    pub file_type: Option<FileType>,
    /// Where its record begins in the block, in bytes.
    pub at: usize,
}

/// The entries of one directory block, in order; the first contradiction ends the iteration with an error.
pub struct Entries<'a> {
    block: &'a [u8],
    at: usize,
    typed: bool,
}

impl<'a> Entries<'a> {
    /// The entries of `block`; `sb` decides whether entries tell the type of their inode.
    #[must_use]
    pub fn of(block: &'a [u8], sb: &Superblock) -> Self {
        Self { block, at: 0, typed: sb.features.has_filetype() }
    }

    fn step(&mut self) -> Option<(usize, Entry<'a>)> {
        let record = self.block.get(self.at..)?;
        let length = record_length(u16_at(record, 4)?, self.block.len());
        // One byte, also where the next one is not a type: no name is longer.
        let name_length = usize::from(u8_at(record, 6)?);
        let sound =
            length >= HEADER && length.is_multiple_of(4) && length <= record.len() && name_length <= length - HEADER;
        let name = record.get(HEADER..HEADER + name_length).filter(|_| sound)?;
        let ino = u32_at(record, 0)?;
        // Nothing can be called by it, and a block would hold hundreds of them.
        if ino != 0 && name.is_empty() {
            return None;
        }
        let file_type = if self.typed { type_of(u8_at(record, 7)?) } else { None };
        Some((length, Entry { ino, name, file_type, at: self.at }))
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, ExtError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.at < self.block.len() {
            let Some((length, entry)) = self.step() else {
                self.at = self.block.len();
                return Some(Err(ExtError::corrupt("a directory has a bad entry")));
            };
            self.at += length;
            if entry.ino != 0 {
                return Some(Ok(entry));
            }
        }
        None
    }
}

/// Writes what the entry at `at` says its inode is: nothing, or one of the types. False when there is no such entry.
#[must_use]
pub fn put_type(block: &mut [u8], at: usize, kind: Option<FileType>) -> bool {
    let slot = at.checked_add(7).and_then(|at| block.get_mut(at));
    slot.map(|slot| *slot = kind.map_or(0, code_of)).is_some()
}

/// Makes the entry at `at` one that stands for nothing. False when there is no such entry.
#[must_use]
pub fn remove_name(block: &mut [u8], at: usize) -> bool {
    let ino = at.checked_add(4).and_then(|end| block.get_mut(at..end));
    ino.map(|ino| ino.fill(0)).is_some()
}

/// Gives the entry at `at` another name, no longer than the one it has. False when it does not fit.
#[must_use]
pub fn put_name(block: &mut [u8], at: usize, name: &[u8]) -> bool {
    let Some(length) = at.checked_add(6).and_then(|at| block.get_mut(at)) else { return false };
    if name.len() > usize::from(*length) {
        return false;
    }
    // No longer than a byte can say, for it is no longer than the old one.
    *length = u8::try_from(name.len()).unwrap_or(*length);
    let slot = block.get_mut(at + HEADER..).and_then(|rest| rest.get_mut(..name.len()));
    slot.map(|slot| slot.copy_from_slice(name)).is_some()
}

/// Blocks of 64 KiB do not fit in 16 bits: the low two bits then stand for bits 16 and 17.
fn record_length(stored: u16, block_size: usize) -> usize {
    let length = usize::from(stored);
    match length {
        0 | 65535 if block_size >= 65536 => block_size,
        _ if block_size >= 65536 => (length & 65532) | (length & 3) << 16,
        _ => length,
    }
}

/// Notes the inode of each of `names` that one block holds.
pub(crate) fn pick<const N: usize>(
    block: &[u8],
    sb: &Superblock,
    names: [&[u8]; N],
    found: &mut [Option<u32>; N],
) -> Result<(), ExtError> {
    for entry in Entries::of(block, sb) {
        let entry = entry?;
        for (slot, _) in found.iter_mut().zip(names).filter(|(_, name)| *name == entry.name) {
            *slot = Some(entry.ino);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(block: &[u8], typed: bool) -> Result<Vec<(u32, Vec<u8>)>, ExtError> {
        let all = Entries { block, at: 0, typed };
        all.map(|e| e.map(|e| (e.ino, e.name.to_vec()))).collect()
    }

    fn record(ino: u32, length: u16, name: &[u8]) -> Vec<u8> {
        let mut raw = ino.to_le_bytes().to_vec();
        raw.extend(length.to_le_bytes());
        raw.extend([name.len() as u8, 2]);
        raw.extend(name);
        raw.resize(usize::from(length), 0);
        raw
    }

    #[test]
    fn names_and_gaps() {
        let block = [record(12, 16, b"upper"), record(0, 12, b""), record(13, 36, b"work")].concat();
        let found = entries(&block, true).unwrap();
        assert_eq!(found, [(12, b"upper".to_vec()), (13, b"work".to_vec())]);
    }

    #[test]
    fn bad_lengths_end_the_walk() {
        for length in [0_u16, 4, 13, 68, 65535] {
            let mut block = record(12, 64, b"upper");
            block[4..6].copy_from_slice(&length.to_le_bytes());
            assert!(entries(&block, true).is_err(), "{length}");
        }
        assert!(entries(&record(12, 64, b"upper")[..7], true).is_err());
    }

    #[test]
    fn a_name_has_at_least_one_byte() {
        assert!(entries(&record(12, 64, b""), true).is_err());
        assert_eq!(entries(&record(0, 64, b""), true).unwrap(), []);
    }

    #[test]
    fn sixty_four_kilobyte_blocks() {
        assert_eq!(record_length(0, 65536), 65536);
        assert_eq!(record_length(65535, 65536), 65536);
        assert_eq!(record_length(16, 65536), 16);
        assert_eq!(record_length(65535, 4096), 65535);
    }
}
