//! The journal's superblock: where the log begins, and which features it has.

use zerocopy::big_endian::U32;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::error::JournalError;
use crate::source::{ReadAt, read_exact_at};

/// With so much each block of the log's own begins. Others that do have zeros there in the journal.
pub(super) const MAGIC: u32 = 0xC03B_3998;
const VERSION_1: u32 = 3;
const VERSION_2: u32 = 4;
const CRC32C: u8 = 4;
/// Fewer blocks than these are left to the log in any case.
const FEWEST_BLOCKS: u32 = 1024;
const FAST_COMMIT_BLOCKS: u32 = 256;

const COMPAT_CHECKSUM: u32 = 0x1;
const REVOKE: u32 = 0x1;
const BIT64: u32 = 0x2;
const ASYNC_COMMIT: u32 = 0x4;
const CSUM_V2: u32 = 0x8;
const CSUM_V3: u32 = 0x10;
const FAST_COMMIT: u32 = 0x20;

/// The kernel's `journal_superblock_t`, under its names.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct RawJournalSuperblock {
    pub h_magic: U32,
    pub h_blocktype: U32,
    pub h_sequence: U32,
    pub s_blocksize: U32,
    pub s_maxlen: U32,
    pub s_first: U32,
    pub s_sequence: U32,
    pub s_start: U32,
    pub s_errno: U32,
    pub s_feature_compat: U32,
    pub s_feature_incompat: U32,
    pub s_feature_ro_compat: U32,
    pub s_uuid: [u8; 16],
    pub s_nr_users: U32,
    pub s_dynsuper: U32,
    pub s_max_transaction: U32,
    pub s_max_trans_data: U32,
    pub s_checksum_type: u8,
    pub s_padding2: [u8; 3],
    pub s_num_fc_blks: U32,
    pub s_head: U32,
    pub s_padding: [U32; 40],
    pub s_checksum: U32,
    pub s_users: [[u8; 16]; 48],
}

const _: () = assert!(size_of::<RawJournalSuperblock>() == 1024);

/// How blocks of the journal are told to be sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checksums {
    /// Not at all.
    None,
    /// By one in each commit block, over all of the transaction.
    Transaction,
    /// By one in each block, and one in 16 bits for each block that is described.
    V2,
    /// The same in 32 bits.
    V3,
}

/// What the passes need of it; checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JournalSuperblock {
    /// In bytes.
    pub(super) block_size: u32,
    /// The first block of the log.
    pub(super) first: u32,
    /// The first block behind the log.
    pub(super) last: u32,
    /// Where the oldest transaction begins; 0 where there is none.
    pub(super) start: u32,
    /// The number of that transaction.
    pub(super) sequence: u32,
    /// Block numbers have 64 bits.
    pub(super) is_64bit: bool,
    /// A commit block may reach the disk before its transaction.
    pub(super) is_async: bool,
    pub(super) checksums: Checksums,
    /// What checksums begin with.
    pub(super) seed: u32,
    /// The first block of the fast commits, where there can be any.
    pub(super) fast_commits: Option<u32>,
}

impl RawJournalSuperblock {
    /// Of a journal that has room for `room` blocks of the file system's size, checked.
    ///
    /// # Errors
    /// There is none, or it contradicts itself or the file system.
    pub fn read(log: &dyn ReadAt, room: u64, block_size: u32) -> Result<Self, JournalError> {
        JournalSuperblock::read(log, room, block_size).map(|(_, raw)| raw)
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }

    /// Makes it that of an empty log as ext3 has it: of the second version, and with no feature but revoke blocks.
    pub fn make_plain(&mut self) {
        let revoke = if self.h_blocktype == VERSION_2 { self.s_feature_incompat.get() & REVOKE } else { 0 };
        if self.h_blocktype == VERSION_1 {
            // What the first version does not have may be anything.
            let RawJournalSuperblock { h_magic, s_blocksize, s_maxlen, s_first, s_sequence, .. } = *self;
            *self = Self { h_magic, s_blocksize, s_maxlen, s_first, s_sequence, ..Self::new_zeroed() };
            self.h_blocktype.set(VERSION_2);
            self.s_nr_users.set(1);
        }
        self.s_start.set(0);
        (self.s_head, self.s_num_fc_blks) = (U32::ZERO, U32::ZERO);
        self.s_feature_compat.set(0);
        self.s_feature_incompat.set(revoke);
        self.s_feature_ro_compat.set(0);
        (self.s_checksum_type, self.s_checksum) = (0, U32::ZERO);
    }

    /// Nothing is in the log; the next transaction will be `sequence`. Whatever else it says stays.
    pub fn set_empty(&mut self, sequence: u32) {
        self.s_start.set(0);
        self.s_sequence.set(sequence);
        if self.h_blocktype == VERSION_2 && self.s_feature_incompat.get() & (CSUM_V2 | CSUM_V3) != 0 {
            self.s_checksum.set(0);
            self.s_checksum.set(crc32c(!0, self.as_bytes()));
        }
    }

    /// Whether the log may have revoke blocks.
    #[must_use]
    pub fn has_revoke(&self) -> bool {
        self.s_feature_incompat.get() & REVOKE != 0
    }

    /// From now on the log may have revoke blocks.
    pub fn set_revoke(&mut self) {
        self.s_feature_incompat.set(self.s_feature_incompat.get() | REVOKE);
    }
}

impl JournalSuperblock {
    /// Of a journal that has room for `room` blocks of the file system's size.
    pub(super) fn read(
        log: &dyn ReadAt,
        room: u64,
        block_size: u32,
    ) -> Result<(Self, RawJournalSuperblock), JournalError> {
        let mut bytes = [0; size_of::<RawJournalSuperblock>()];
        read_exact_at(log, &mut bytes, 0)?;
        let raw: RawJournalSuperblock = zerocopy::transmute!(bytes);
        let known = matches!(raw.h_blocktype.get(), VERSION_1 | VERSION_2);
        ensure(raw.h_magic.get() == MAGIC && known, "has no superblock")?;
        ensure(raw.s_blocksize.get() == block_size, "has blocks of another size than the file system")?;
        ensure(u64::from(raw.s_maxlen) <= room, "is shorter than it says")?;
        // The lowest bit of a place says something else.
        ensure(raw.s_maxlen.get() <= u32::MAX >> 1, "is longer than any can be")?;
        let sb = Self::of(&raw, raw.h_blocktype == VERSION_1)?;
        Ok((sb, raw))
    }

    fn of(raw: &RawJournalSuperblock, is_old: bool) -> Result<Self, JournalError> {
        let word = |word: U32| if is_old { 0 } else { word.get() };
        let (compat, incompat) = (word(raw.s_feature_compat), word(raw.s_feature_incompat));
        let unknown = incompat & !(REVOKE | BIT64 | ASYNC_COMMIT | CSUM_V2 | CSUM_V3 | FAST_COMMIT);
        if unknown != 0 || word(raw.s_feature_ro_compat) != 0 {
            return Err(JournalError::Unsupported(format!("unknown features of its journal ({unknown:#x})")));
        }
        let checksums = checksums(compat, incompat)?;
        if matches!(checksums, Checksums::V2 | Checksums::V3) {
            ensure(raw.s_checksum_type == CRC32C, "has checksums of an unknown kind")?;
            let zeroed = RawJournalSuperblock { s_checksum: U32::ZERO, ..*raw };
            ensure(crc32c(!0, zeroed.as_bytes()) == raw.s_checksum.get(), "has a superblock with a wrong checksum")?;
        }
        let mut last = raw.s_maxlen.get();
        let mut fast_commits = None;
        if incompat & FAST_COMMIT != 0 {
            let wanted = if raw.s_num_fc_blks == 0 { FAST_COMMIT_BLOCKS } else { raw.s_num_fc_blks.get() };
            last = last.checked_sub(wanted).filter(|left| *left >= FEWEST_BLOCKS).unwrap_or(last);
            fast_commits = Some(last + 1);
        }
        let (first, start) = (raw.s_first.get(), raw.s_start.get());
        ensure(first != 0 && first < last, "has no room for a log")?;
        ensure(start == 0 || (first..last).contains(&start), "begins outside of itself")?;
        Ok(Self {
            block_size: raw.s_blocksize.get(),
            first,
            last,
            start,
            sequence: raw.s_sequence.get(),
            is_64bit: incompat & BIT64 != 0,
            is_async: incompat & ASYNC_COMMIT != 0,
            checksums,
            seed: crc32c(!0, &raw.s_uuid),
            fast_commits,
        })
    }

    /// What checksums take at the end of a block that describes others.
    pub(super) fn tail(&self) -> usize {
        if self.has_block_checksums() { 4 } else { 0 }
    }

    pub(super) fn has_block_checksums(&self) -> bool {
        matches!(self.checksums, Checksums::V2 | Checksums::V3)
    }
}

fn checksums(compat: u32, incompat: u32) -> Result<Checksums, JournalError> {
    Ok(match (compat & COMPAT_CHECKSUM != 0, incompat & (CSUM_V2 | CSUM_V3)) {
        (false, 0) => Checksums::None,
        (true, 0) => Checksums::Transaction,
        (false, CSUM_V2) => Checksums::V2,
        (false, CSUM_V3) => Checksums::V3,
        _ => return Err(JournalError::Corrupt("has checksums of two kinds")),
    })
}

pub(super) fn ensure(sound: bool, what: &'static str) -> Result<(), JournalError> {
    if sound { Ok(()) } else { Err(JournalError::Corrupt(what)) }
}

/// crc32c continued from `seed`, without the inversions that other uses of it apply.
pub(super) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_to_be_written_is_plain() {
        let words = [MAGIC, VERSION_1, 9, 1024, 2000, 1, 7, 30, 5, 0xFFFF_FFFF, 0xFFFF_FFFF];
        let mut bytes = [0xEE; 1024];
        for (to, word) in bytes.chunks_mut(4).zip(words) {
            to.copy_from_slice(&word.to_be_bytes());
        }
        let mut raw: RawJournalSuperblock = zerocopy::transmute!(bytes);
        raw.make_plain();
        let (sb, raw) = JournalSuperblock::read(&raw.bytes().to_vec(), 2000, 1024).unwrap();
        assert_eq!((sb.first, sb.last, sb.start, sb.sequence, sb.checksums), (1, 2000, 0, 7, Checksums::None));
        assert_eq!((raw.h_blocktype.get(), raw.s_nr_users.get(), raw.has_revoke()), (VERSION_2, 1, false));

        let mut newer = raw;
        newer.s_feature_incompat.set(REVOKE | BIT64 | CSUM_V3);
        newer.make_plain();
        assert_eq!(newer.s_feature_incompat.get(), REVOKE);
    }
}
