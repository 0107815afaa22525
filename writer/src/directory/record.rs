//! The records of one directory block. Each has a name, or is free; behind a name there may be free bytes, which the next name may get.

use condatainer_formats::ext::raw::{FileType, Superblock, code_of, type_of};
use nix::errno::Errno;

use crate::error::{Error, Result};

/// Number, length, length of the name, and type.
const HEADER: usize = 8;
/// A record with a name of one byte.
const SHORTEST: usize = 12;
/// In bytes.
pub(super) const LONGEST_NAME: usize = 255;

/// How records look in one file system.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    inodes_count: u32,
    has_filetype: bool,
}

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    /// Where it begins in its block, in bytes.
    pub(super) at: usize,
    /// How long it is, free bytes included.
    pub(super) length: usize,
    /// 0 for a free one.
    pub(super) ino: u32,
    /// Of a free one 0.
    name_length: usize,
    code: u8,
}

/// How many bytes a record with such a name needs.
pub(super) fn needed(name_length: usize) -> usize {
    (HEADER + name_length).next_multiple_of(4)
}

impl Form {
    pub(super) fn of(sb: &Superblock) -> Self {
        Self { inodes_count: sb.inodes_count, has_filetype: sb.features.has_filetype() }
    }

    /// All records of a block, in order; the first contradiction ends them with an error.
    pub(super) fn records(self, block: &[u8]) -> impl Iterator<Item = Result<Record>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            if at >= block.len() {
                return None;
            }
            let record = self.record(block, at);
            at = record.map_or(block.len(), |record| at + record.length);
            Some(record.ok_or_else(|| Error::corrupt("a directory has a bad entry")))
        })
    }

    /// The record at `at`, if it is sound.
    fn record(self, block: &[u8], at: usize) -> Option<Record> {
        let rest = block.get(at..)?;
        let &[i0, i1, i2, i3, l0, l1, name_length, code] = rest.first_chunk::<HEADER>()?;
        let (ino, length) = (u32::from_le_bytes([i0, i1, i2, i3]), usize::from(u16::from_le_bytes([l0, l1])));
        let name_length = if ino == 0 { 0 } else { usize::from(name_length) };
        let fits = length >= SHORTEST && length.is_multiple_of(4) && length <= rest.len();
        let is_sound = ino == 0 || (name_length != 0 && needed(name_length) <= length && ino <= self.inodes_count);
        let code = if self.has_filetype { code } else { 0 };
        (fits && is_sound).then_some(Record { at, length, ino, name_length, code })
    }

    /// The record of a name.
    pub(super) fn find(self, block: &[u8], name: &[u8]) -> Result<Option<Record>> {
        for record in self.records(block) {
            let record = record?;
            if record.ino != 0 && record.name(block) == name {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// The first record with room for one more name.
    ///
    /// # Errors
    /// The name is there already (`EEXIST`), or a record is broken.
    pub(super) fn room(self, block: &[u8], name: &[u8]) -> Result<Option<Record>> {
        let mut room = None;
        for record in self.records(block) {
            let record = record?;
            if record.ino != 0 && record.name(block) == name {
                return Err(Errno::EEXIST.into());
            }
            if room.is_none() && record.length - record.used() >= needed(name.len()) {
                room = Some(record);
            }
        }
        Ok(room)
    }

    /// Puts a name into the free bytes of a record, which has enough of them.
    pub(super) fn put(self, block: &mut [u8], room: Record, name: &[u8], ino: u32, kind: FileType) -> Result<()> {
        let (at, length) = (room.at + room.used(), room.length - room.used());
        if room.used() != 0 {
            put_length(block, room.at, room.used())?;
        }
        self.write(block, at, length, (name, ino, kind))
    }

    /// Writes a whole record of `length` bytes at `at`.
    pub(super) fn write(
        self,
        block: &mut [u8],
        at: usize,
        length: usize,
        (name, ino, kind): (&[u8], u32, FileType),
    ) -> Result<()> {
        let name_length = u8::try_from(name.len()).map_err(|_| Errno::ENAMETOOLONG)?;
        let record = block.get_mut(at..at + length).filter(|record| needed(name.len()) <= record.len());
        let record = record.ok_or_else(overfull)?;
        record.fill(0);
        let code = if self.has_filetype { code_of(kind) } else { 0 };
        let [i0, i1, i2, i3] = ino.to_le_bytes();
        let [l0, l1] = length_of(length)?;
        let header = [i0, i1, i2, i3, l0, l1, name_length, code];
        for (place, byte) in record.iter_mut().zip(header.iter().chain(name)) {
            *place = *byte;
        }
        Ok(())
    }

    /// Takes the name at `at` away: its bytes go to the record before it, or stay as a free one.
    pub(super) fn remove(self, block: &mut [u8], at: usize, ino: u32) -> Result<()> {
        let (before, record) = self.with_the_one_before(block, at)?;
        if record.ino != ino {
            return Err(moved());
        }
        block.get_mut(at..at + record.length).unwrap_or_default().fill(0);
        match before {
            Some(before) => put_length(block, before.at, before.length + record.length),
            None => put_length(block, at, record.length),
        }
    }

    /// Lets the name at `at`, which stands for `old`, stand for another inode.
    pub(super) fn replace(self, block: &mut [u8], at: usize, old: u32, new: (u32, FileType)) -> Result<()> {
        let (new, kind) = new;
        let record = self.record(block, at).filter(|record| record.ino == old).ok_or_else(moved)?;
        let header = block.get_mut(record.at..).and_then(|rest| rest.first_chunk_mut::<HEADER>()).ok_or_else(moved)?;
        let [i0, i1, i2, i3, .., code] = header;
        [*i0, *i1, *i2, *i3] = new.to_le_bytes();
        if self.has_filetype {
            *code = code_of(kind);
        }
        Ok(())
    }

    /// Fills a block with records of `from`, one behind the other; the last has the rest.
    pub(super) fn pack(self, block: &mut [u8], from: &[u8], records: impl Iterator<Item = Record>) -> Result<()> {
        block.fill(0);
        let (mut end, mut last) = (0, None);
        for record in records {
            let source = from.get(record.at..record.at + record.used());
            let (target, source) = block.get_mut(end..end + record.used()).zip(source).ok_or_else(overfull)?;
            target.copy_from_slice(source);
            put_length(block, end, record.used())?;
            last = Some(end);
            end += record.used();
        }
        let last = last.unwrap_or(0);
        put_length(block, last, block.len() - last)
    }

    fn with_the_one_before(self, block: &[u8], at: usize) -> Result<(Option<Record>, Record)> {
        let mut before = None;
        for record in self.records(block) {
            let record = record?;
            if record.at == at {
                return Ok((before, record));
            }
            before = Some(record);
        }
        Err(moved())
    }
}

impl Record {
    pub(super) fn name(self, block: &[u8]) -> &[u8] {
        let start = self.at + HEADER;
        block.get(start..start + self.name_length).unwrap_or_default()
    }

    /// What it says of the kind of its inode.
    pub(super) fn kind(self) -> Option<FileType> {
        type_of(self.code)
    }

    /// How many of its bytes its name needs.
    pub(super) fn used(self) -> usize {
        if self.ino == 0 { 0 } else { needed(self.name_length) }
    }
}

/// Writes how long the record at `at` is.
pub(super) fn put_length(block: &mut [u8], at: usize, length: usize) -> Result<()> {
    let bytes = length_of(length)?;
    let place = block.get_mut(at + 4..at + 6).ok_or_else(overfull)?;
    place.copy_from_slice(&bytes);
    Ok(())
}

fn length_of(length: usize) -> Result<[u8; 2]> {
    let length = u16::try_from(length).map_err(|_| Error::corrupt("a directory's block is too large"))?;
    Ok(length.to_le_bytes())
}

fn overfull() -> Error {
    Error::corrupt("a directory has too little room")
}

fn moved() -> Error {
    Error::corrupt("an entry of a directory is not where it was")
}
