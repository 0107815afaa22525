//! The first pass: how far the log is sound.
//!
//! A transaction counts once its commit block is there. Without checksums nothing more is asked, for the kernel writes a commit block only
//! when all of its transaction is on the disk. What lies behind the last one is torn, or left from an earlier round.

use crc::{CRC_32_MPEG_2, Crc, Digest, Table};

use super::block::{Commit, Kind, commit, is_sound, is_sound_commit};
use super::error::JournalError;
use super::log::{Cursor, Log};
use super::superblock::Checksums;

/// The kernel's `crc32_be`, from all ones on.
static CRC32: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_MPEG_2);
const CRC32_KIND: u8 = 1;
const CRC32_LENGTH: u8 = 4;

struct Scan<'a> {
    log: &'a Log<'a>,
    /// Over what was met of a transaction.
    sum: Digest<'static, u32, Table<1>>,
    /// A descriptor or revoke block of this transaction has a wrong checksum: it may be left from an earlier round.
    doubtful: bool,
    /// When the last sound transaction was committed.
    committed: u64,
    /// The first transaction that does not count, where that is known.
    end: Option<u32>,
}

/// What is to be done behind a commit block.
enum Verdict {
    Next,
    /// This transaction does not count, and none behind it.
    Stop,
    /// It does not count; if another one was committed behind it, the log is damaged.
    Torn,
}

/// The first transaction that does not count.
pub(super) fn end_of(log: &Log<'_>) -> Result<u32, JournalError> {
    let mut scan = Scan { log, sum: CRC32.digest(), doubtful: false, committed: 0, end: None };
    let mut cursor = log.start();
    while let Some((kind, block)) = log.step(&mut cursor)? {
        match kind {
            Kind::Descriptor => scan.descriptor(&block, &mut cursor)?,
            Kind::Revoke => scan.doubtful |= !is_sound(&block, log.sb),
            Kind::Commit if scan.end.is_some() => return Err(JournalError::Corrupt(DAMAGED)),
            Kind::Commit => {
                match scan.judge(&block)? {
                    Verdict::Next => {}
                    Verdict::Stop => return Ok(cursor.sequence),
                    Verdict::Torn => scan.end = Some(cursor.sequence),
                }
                cursor.sequence = cursor.sequence.wrapping_add(1);
            }
        }
    }
    Ok(scan.end.unwrap_or(cursor.sequence))
}

const DAMAGED: &str = "has a transaction with a wrong checksum";

impl Scan<'_> {
    fn descriptor(&mut self, block: &[u8], cursor: &mut Cursor) -> Result<(), JournalError> {
        self.doubtful |= !is_sound(block, self.log.sb);
        let described = self.log.described(block, cursor)?;
        if self.log.sb.checksums == Checksums::Transaction && self.end.is_none() {
            self.sum.update(block);
            for (_, at) in described {
                self.sum.update(&self.log.block(at)?);
            }
        }
        Ok(())
    }

    fn judge(&mut self, block: &[u8]) -> Result<Verdict, JournalError> {
        let commit = commit(block).ok_or(JournalError::Corrupt(DAMAGED))?;
        let (sb, time) = (self.log.sb, commit.h_commit_sec.get());
        let is_older = time < self.committed;
        if self.doubtful {
            return if is_older { Ok(Verdict::Stop) } else { Err(JournalError::Corrupt(DAMAGED)) };
        }
        let whole = sb.checksums != Checksums::Transaction || self.is_whole(commit);
        if whole && is_sound_commit(block, sb) {
            self.committed = time;
            return Ok(Verdict::Next);
        }
        match (is_older, sb.is_async) {
            (true, _) => Ok(Verdict::Stop),
            (false, true) => Ok(Verdict::Torn),
            (false, false) => Err(JournalError::Corrupt(DAMAGED)),
        }
    }

    /// Whether a commit block has the checksum of its transaction, or says that it has none.
    fn is_whole(&mut self, commit: &Commit) -> bool {
        let found = commit.h_chksum[0].get();
        let sum = std::mem::replace(&mut self.sum, CRC32.digest()).finalize();
        match (commit.h_chksum_type, commit.h_chksum_size) {
            (0, 0) => found == 0,
            (CRC32_KIND, CRC32_LENGTH) => found == sum,
            _ => false,
        }
    }
}
