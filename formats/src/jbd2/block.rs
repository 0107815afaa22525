//! The parts of a block of the log: its header, the tags of a descriptor block, the numbers of a revoke block, the commit block.

use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::error::JournalError;
use super::superblock::{Checksums, JournalSuperblock, MAGIC, crc32c};

pub(super) const ESCAPED: u16 = 0x1;
pub(super) const SAME_UUID: u16 = 0x2;
pub(super) const LAST_TAG: u16 = 0x8;
pub(super) const UUID: usize = 16;
/// Of a revoke block: the header, and how many bytes are in use.
pub(super) const REVOKE_HEADER: usize = 16;

/// What a block of the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It says where the blocks belong that follow.
    Descriptor,
    /// It ends a transaction.
    Commit,
    /// It says which blocks of earlier transactions do not count.
    Revoke,
}

/// The kernel's `journal_header_t`, under its names.
#[derive(Debug, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    h_magic: U32,
    h_blocktype: U32,
    h_sequence: U32,
}

/// The kernel's `journal_block_tag_t`, without the part that only wide block numbers have.
#[derive(Debug, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawTag {
    t_blocknr: U32,
    t_checksum: U16,
    t_flags: U16,
}

/// The kernel's `commit_header`, as much of it as is read.
#[derive(Debug, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Commit {
    h_header: [U32; 3],
    pub(super) h_chksum_type: u8,
    pub(super) h_chksum_size: u8,
    h_padding: [u8; 2],
    pub(super) h_chksum: [U32; 8],
    pub(super) h_commit_sec: U64,
}

/// A block of the log that one of the next blocks of the log belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) block: u64,
    pub(super) is_escaped: bool,
    checksum: u32,
}

/// The kind and the transaction of a block; `None` where it is none of the log's own.
pub(super) fn kind_of(block: &[u8]) -> Option<(Kind, u32)> {
    let (header, _) = Header::ref_from_prefix(block).ok().filter(|(header, _)| header.h_magic == MAGIC)?;
    let kind = match header.h_blocktype.get() {
        1 => Kind::Descriptor,
        2 => Kind::Commit,
        5 => Kind::Revoke,
        _ => return None,
    };
    Some((kind, header.h_sequence.get()))
}

/// Whether the checksum at the end of a descriptor or revoke block is right.
pub(super) fn is_sound(block: &[u8], sb: &JournalSuperblock) -> bool {
    let length = block.len().saturating_sub(sb.tail());
    let (Some(body), Some(tail)) = (block.get(..length), block.get(length..)) else { return false };
    let found = U32::read_from_bytes(tail).map(U32::get);
    // The checksum is taken with itself as zeros.
    !sb.has_block_checksums() || found == Ok(crc32c(crc32c(sb.seed, body), &[0; 4]))
}

/// The parts of a commit block.
pub(super) fn commit(block: &[u8]) -> Option<&Commit> {
    Commit::ref_from_prefix(block).ok().map(|(commit, _)| commit)
}

/// Whether the checksum of a commit block, over that block, is right. As for the kernel only its header need be: a disk may have written
/// no more than that.
pub(super) fn is_sound_commit(block: &[u8], sb: &JournalSuperblock) -> bool {
    const AT: usize = 16;
    const HEADER: usize = 64;
    let (Some(before), Some(behind)) = (block.get(..AT), block.get(AT + 4..)) else { return false };
    let Some(commit) = commit(block) else { return false };
    let is_right = |behind: &[u8]| commit.h_chksum[0] == crc32c(crc32c(crc32c(sb.seed, before), &[0; 4]), behind);
    let header_only = || {
        let mut rest = behind.to_vec();
        rest.get_mut(HEADER - AT - 4..).unwrap_or_default().fill(0);
        rest
    };
    !sb.has_block_checksums() || is_right(behind) || is_right(&header_only())
}

/// What the blocks behind a descriptor block are, in order.
pub(super) fn tags(block: &[u8], sb: &JournalSuperblock) -> Vec<Tag> {
    let length = tag_length(sb);
    let body = block.get(..block.len().saturating_sub(sb.tail())).unwrap_or_default();
    let (mut all, mut at) = (Vec::new(), size_of::<Header>());
    while let Some(bytes) = body.get(at..at + length) {
        let Ok((tag, more)) = RawTag::ref_from_prefix(bytes) else { break };
        let word =
            |at: usize| more.get(at..at + 4).and_then(|word| U32::read_from_bytes(word).ok()).map_or(0, U32::get);
        let high = if sb.is_64bit { u64::from(word(0)) << 32 } else { 0 };
        let flags = tag.t_flags.get();
        let checksum = if sb.checksums == Checksums::V3 { word(4) } else { tag.t_checksum.get().into() };
        all.push(Tag { block: u64::from(tag.t_blocknr) | high, is_escaped: flags & ESCAPED != 0, checksum });
        at += length + if flags & SAME_UUID == 0 { UUID } else { 0 };
        if flags & LAST_TAG != 0 {
            break;
        }
    }
    all
}

/// A tag has what its features need, and the old checksums two bytes that nobody uses.
fn tag_length(sb: &JournalSuperblock) -> usize {
    match (sb.checksums, sb.is_64bit) {
        (Checksums::V3, _) => 16,
        (Checksums::V2, true) => 14,
        (Checksums::V2, false) => 10,
        (_, true) => 12,
        (_, false) => 8,
    }
}

impl Tag {
    /// Whether `content`, from the journal, is what transaction `sequence` wrote there.
    pub(super) fn is_sound(&self, content: &[u8], sequence: u32, sb: &JournalSuperblock) -> bool {
        let expected = || crc32c(crc32c(sb.seed, &sequence.to_be_bytes()), content);
        match sb.checksums {
            Checksums::None | Checksums::Transaction => true,
            Checksums::V2 => self.checksum == expected() & 0xFFFF,
            Checksums::V3 => self.checksum == expected(),
        }
    }
}

/// The numbers in a revoke block.
pub(super) fn revoked<'a>(
    block: &'a [u8],
    sb: &JournalSuperblock,
) -> Result<impl Iterator<Item = u64> + use<'a>, JournalError> {
    let length = if sb.is_64bit { 8 } else { 4 };
    let used = block.get(12..REVOKE_HEADER).and_then(|used| U32::read_from_bytes(used).ok()).map_or(0, U32::get);
    let used = used as usize;
    if used > block.len().saturating_sub(sb.tail()) {
        return Err(JournalError::Corrupt("has a revoke block that is longer than a block"));
    }
    let numbers = block.get(REVOKE_HEADER..used).unwrap_or_default().chunks_exact(length);
    Ok(numbers.map(|number| number.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))))
}
