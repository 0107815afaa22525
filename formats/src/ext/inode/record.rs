//! A record of an inode table: what every inode has, what longer ones have besides, and the attributes that lie behind.

use std::mem::offset_of;

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::disk::Inode;
use crate::ext::checksum::crc32c;

/// What longer inodes have behind the first 128 bytes, under the kernel's names; `i_extra_isize` says how much of it.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Extra {
    i_extra_isize: U16,
    i_checksum_hi: U16,
    i_ctime_extra: U32,
    i_mtime_extra: U32,
    i_atime_extra: U32,
    i_crtime: U32,
    i_crtime_extra: U32,
    i_version_hi: U32,
    i_projid: U32,
}

/// One record of an inode table. Behind the fields lie extended attributes.
#[derive(Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct InodeRecord {
    /// What every inode has.
    pub inode: Inode,
    rest: [u8],
}

const _: () = assert!(size_of::<Extra>() == 32);

impl InodeRecord {
    /// The whole of `bytes` as a record; `None` when it is too short.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<&Self> {
        Self::ref_from_bytes(bytes).ok()
    }

    /// As [`InodeRecord::of`], to be changed.
    pub fn of_mut(bytes: &mut [u8]) -> Option<&mut Self> {
        Self::mut_from_bytes(bytes).ok()
    }

    /// Its length in bytes.
    #[must_use]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        size_of_val(self)
    }

    /// Last change of the content: seconds since 1970, and nanoseconds where there is room for them.
    #[must_use]
    pub fn mtime(&self) -> (i64, u32) {
        let extra = self.extra_to(offset_of!(Extra, i_atime_extra));
        time(self.inode.i_mtime, extra.map(|extra| extra.i_mtime_extra))
    }

    /// Last change of anything, which no program can set, in the same form.
    #[must_use]
    pub fn ctime(&self) -> (i64, u32) {
        let extra = self.extra_to(offset_of!(Extra, i_mtime_extra));
        time(self.inode.i_ctime, extra.map(|extra| extra.i_ctime_extra))
    }

    /// Last time that it was read, in the same form.
    #[must_use]
    pub fn atime(&self) -> (i64, u32) {
        let extra = self.extra_to(offset_of!(Extra, i_crtime));
        time(self.inode.i_atime, extra.map(|extra| extra.i_atime_extra))
    }

    /// Sets the last change of the content: seconds since 1970, and nanoseconds where there is room for them.
    pub fn set_mtime(&mut self, time: (i64, u32)) {
        let extra = self.extra_to_mut(offset_of!(Extra, i_atime_extra)).map(|extra| &mut extra.i_mtime_extra);
        let seconds = set_time(extra, time);
        self.inode.i_mtime.set(seconds);
    }

    /// Sets the last change of anything, in the same form.
    pub fn set_ctime(&mut self, time: (i64, u32)) {
        let extra = self.extra_to_mut(offset_of!(Extra, i_mtime_extra)).map(|extra| &mut extra.i_ctime_extra);
        let seconds = set_time(extra, time);
        self.inode.i_ctime.set(seconds);
    }

    /// Sets the last time that it was read, in the same form.
    pub fn set_atime(&mut self, time: (i64, u32)) {
        let extra = self.extra_to_mut(offset_of!(Extra, i_crtime)).map(|extra| &mut extra.i_atime_extra);
        let seconds = set_time(extra, time);
        self.inode.i_atime.set(seconds);
    }

    /// Sets when it was made, where there is room for that.
    pub fn set_crtime(&mut self, time: (i64, u32)) {
        if let Some(extra) = self.extra_to_mut(offset_of!(Extra, i_version_hi)) {
            let seconds = set_time(Some(&mut extra.i_crtime_extra), time);
            extra.i_crtime.set(seconds);
        }
    }

    /// Says how many bytes behind the first 128 are fields; nothing where the record has none.
    pub fn set_extra_isize(&mut self, extra_isize: u16) {
        if let Ok((extra, _)) = Extra::mut_from_prefix(&mut self.rest) {
            extra.i_extra_isize.set(extra_isize);
        }
    }

    /// The room for extended attributes beside the fields.
    #[must_use]
    pub fn attributes(&self) -> Option<&[u8]> {
        self.rest.get(usize::from(self.extra_isize()?)..)
    }

    /// As [`InodeRecord::attributes`], to be changed.
    pub fn attributes_mut(&mut self) -> Option<&mut [u8]> {
        let start = self.extra_isize()?;
        self.rest.get_mut(usize::from(start)..)
    }

    /// How many bytes behind the first 128 are fields; `None` where the record has none.
    #[must_use]
    pub fn extra_isize(&self) -> Option<u16> {
        self.extra_to(0).map(|extra| extra.i_extra_isize.get())
    }

    /// Makes so many bytes behind the first 128 fields, all zeros but for their number.
    pub fn make_extra(&mut self, extra_isize: u16) {
        if let Some(fields) = self.rest.get_mut(..usize::from(extra_isize)) {
            fields.fill(0);
            self.set_extra_isize(extra_isize);
        }
    }

    /// The checksum that it should carry.
    #[must_use]
    pub fn checksum(&self, seed: u32, ino: u32) -> u32 {
        let mut copy = self.as_bytes().to_vec();
        let Some(record) = Self::of_mut(&mut copy) else { return 0 };
        record.store_checksum(0);
        let crc = crc32c(crc32c(seed, &ino.to_le_bytes()), self.inode.i_generation.as_bytes());
        let crc = crc32c(crc, &copy);
        if self.has_wide_checksum() { crc } else { crc & 0xFFFF }
    }

    /// The checksum that it carries now.
    #[must_use]
    pub fn stored_checksum(&self) -> u32 {
        let high = self.checksum_extra().map_or(0, |extra| extra.i_checksum_hi.get());
        u32::from(self.inode.l_i_checksum_lo) | u32::from(high) << 16
    }

    /// Writes the right checksum.
    pub fn set_checksum(&mut self, seed: u32, ino: u32) {
        self.store_checksum(self.checksum(seed, ino));
    }

    fn store_checksum(&mut self, checksum: u32) {
        self.inode.l_i_checksum_lo.set((checksum & 0xFFFF) as u16);
        if self.has_wide_checksum()
            && let Ok((extra, _)) = Extra::mut_from_prefix(&mut self.rest)
        {
            extra.i_checksum_hi.set((checksum >> 16) as u16);
        }
    }

    fn has_wide_checksum(&self) -> bool {
        self.checksum_extra().is_some()
    }

    fn checksum_extra(&self) -> Option<&Extra> {
        self.extra_to(offset_of!(Extra, i_ctime_extra))
    }

    /// The fields behind the first 128 bytes, if those before `end` are all in use.
    fn extra_to(&self, end: usize) -> Option<&Extra> {
        let (extra, _) = Extra::ref_from_prefix(&self.rest).ok()?;
        (usize::from(extra.i_extra_isize.get()) >= end).then_some(extra)
    }

    /// As `extra_to`, to be changed.
    fn extra_to_mut(&mut self, end: usize) -> Option<&mut Extra> {
        let (extra, _) = Extra::mut_from_prefix(&mut self.rest).ok()?;
        (usize::from(extra.i_extra_isize.get()) >= end).then_some(extra)
    }
}

/// Returns the low half of the seconds, and sets the rest. Times that there is no room for become the nearest that there is, as in the
/// kernel.
fn set_time(extra: Option<&mut U32>, (seconds, nanoseconds): (i64, u32)) -> u32 {
    let (earliest, latest) = (i64::from(i32::MIN), i64::from(i32::MAX));
    let Some(extra) = extra else { return (seconds.clamp(earliest, latest) & 0xFFFF_FFFF) as u32 };
    let seconds = seconds.clamp(earliest, latest + (3 << 32));
    let epoch = (seconds - i64::from(seconds as i32)) >> 32;
    extra.set((epoch & 3) as u32 | nanoseconds.min(999_999_999) << 2);
    (seconds & 0xFFFF_FFFF) as u32
}

/// The low two bits of `extra` continue the seconds, the others count nanoseconds.
fn time(seconds: U32, extra: Option<U32>) -> (i64, u32) {
    let extra = extra.map_or(0, U32::get);
    (i64::from(seconds.get().cast_signed()) + (i64::from(extra & 3) << 32), extra >> 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_that_was_set_verifies() {
        for size in [128, 256] {
            let mut raw: Vec<u8> = (0..size).map(|i| i as u8).collect();
            InodeRecord::of_mut(&mut raw).unwrap().set_checksum(7, 12);
            let record = InodeRecord::of(&raw).unwrap();
            assert_eq!(record.stored_checksum(), record.checksum(7, 12));
            raw[2] ^= 1;
            let record = InodeRecord::of(&raw).unwrap();
            assert_ne!(record.stored_checksum(), record.checksum(7, 12));
        }
    }

    #[test]
    fn times_come_back_as_far_as_there_is_room() {
        let (first, last) = (i64::from(i32::MIN), i64::from(i32::MAX));
        let mut raw = vec![0; 256];
        let record = InodeRecord::of_mut(&mut raw).unwrap();
        record.set_extra_isize(32);
        for seconds in [0, 1_700_000_000, -1, first, last, last + 1, 1 << 33, last + (3 << 32)] {
            record.set_mtime((seconds, 999_999_999));
            record.set_ctime((seconds, 1));
            record.set_atime((seconds, 0));
            let times = [record.mtime(), record.ctime(), record.atime()];
            assert_eq!(times, [(seconds, 999_999_999), (seconds, 1), (seconds, 0)]);
        }
        record.set_mtime((1 << 40, 0));
        assert_eq!(record.mtime(), (last + (3 << 32), 0));
        let short = InodeRecord::of_mut(&mut raw[..128]).unwrap();
        short.set_extra_isize(32);
        for (set, got) in [(first - 1, first), (-1, -1), (last + 1, last)] {
            short.set_mtime((set, 5));
            assert_eq!(short.mtime(), (got, 0));
        }
    }

    #[test]
    fn what_is_behind_the_first_fields_counts_as_far_as_it_reaches() {
        let mut raw = vec![0xFF; 256];
        let full = (-1 + (3 << 32), u32::MAX >> 2);
        for (isize, mtime) in [(8_u16, (-1, 0)), (32, full)] {
            raw[0x80..0x82].copy_from_slice(&isize.to_le_bytes());
            let record = InodeRecord::of(&raw).unwrap();
            assert_eq!((record.ctime(), record.mtime()), (full, mtime));
            assert_eq!(record.attributes().unwrap().len(), 128 - usize::from(isize));
        }
        assert_eq!(InodeRecord::of(&raw[..128]).unwrap().attributes(), None);
        assert_eq!(128 + offset_of!(Extra, i_mtime_extra), 0x88);
    }
}
