//! The squashfs superblock, as far as it tells a whole image from a broken one.

use crate::ext::{u16_at, u32_at, u64_at};

/// The length of the superblock, in bytes.
pub(crate) const SUPERBLOCK_SIZE: usize = 96;
const ABSENT: u64 = u64::MAX;

/// What is wrong with something that begins like a squashfs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    Truncated { needed: u64 },
    Corrupt(&'static str),
    Unsupported(String),
}

/// Whether `bytes` begin with the magic of a little-endian squashfs.
pub(crate) fn has_magic(bytes: &[u8]) -> bool {
    bytes.starts_with(b"hsqs")
}

/// Checks the superblock at the start of `bytes` against itself and the `available` bytes behind it.
pub(crate) fn check(bytes: &[u8], available: u64) -> Result<(), Flaw> {
    let bytes = bytes.get(..SUPERBLOCK_SIZE).ok_or(Flaw::Truncated { needed: SUPERBLOCK_SIZE as u64 })?;
    check_version(bytes)?;
    check_blocks(bytes)?;
    check_tables(bytes, available)
}

fn check_version(bytes: &[u8]) -> Result<(), Flaw> {
    match (u16_at(bytes, 28), u16_at(bytes, 20)) {
        (Some(4), Some(1..=6)) => Ok(()),
        (Some(4), other) => Err(Flaw::Unsupported(format!("squashfs compressor {}", other.unwrap_or(0)))),
        (other, _) => Err(Flaw::Unsupported(format!("squashfs version {}", other.unwrap_or(0)))),
    }
}

fn check_blocks(bytes: &[u8]) -> Result<(), Flaw> {
    let (size, log) = (u32_at(bytes, 12).unwrap_or(0), u16_at(bytes, 22).unwrap_or(0));
    let sound = (12..=20).contains(&log) && size == 1 << log;
    if sound { Ok(()) } else { Err(Flaw::Corrupt("the squashfs block size is impossible")) }
}

fn check_tables(bytes: &[u8], available: u64) -> Result<(), Flaw> {
    let used = u64_at(bytes, 40).unwrap_or(0);
    if used < SUPERBLOCK_SIZE as u64 {
        return Err(Flaw::Corrupt("the squashfs size is impossible"));
    }
    if used > available {
        return Err(Flaw::Truncated { needed: used });
    }
    // id, xattr, inode, directory, fragment and export table; three of them may be absent.
    let tables = [48, 56, 64, 72, 80, 88].map(|at| u64_at(bytes, at).unwrap_or(0));
    let inside = |start: &u64| *start == ABSENT || (SUPERBLOCK_SIZE as u64..used).contains(start);
    if tables.iter().all(inside) { Ok(()) } else { Err(Flaw::Corrupt("a squashfs table lies outside the image")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Vec<u8> {
        let mut raw = vec![0; SUPERBLOCK_SIZE];
        raw[..4].copy_from_slice(b"hsqs");
        raw[12..16].copy_from_slice(&131_072_u32.to_le_bytes());
        raw[20..24].copy_from_slice(&[6, 0, 17, 0]);
        raw[28] = 4;
        raw[40..48].copy_from_slice(&4096_u64.to_le_bytes());
        for at in [48, 64, 72, 80] {
            raw[at..at + 8].copy_from_slice(&1000_u64.to_le_bytes());
        }
        raw[56..64].fill(0xFF);
        raw[88..96].fill(0xFF);
        raw
    }

    #[test]
    fn sizes_are_checked() {
        assert_eq!(check(&sound(), 4096), Ok(()));
        assert_eq!(check(&sound(), 4095), Err(Flaw::Truncated { needed: 4096 }));
        assert_eq!(check(&sound()[..95], 4096), Err(Flaw::Truncated { needed: 96 }));
    }

    #[test]
    fn flaws_have_names() {
        let with = |at: usize, value: u8| {
            let mut raw = sound();
            raw[at] = value;
            check(&raw, 4096).unwrap_err()
        };
        assert_eq!(with(28, 3), Flaw::Unsupported("squashfs version 3".into()));
        assert_eq!(with(20, 9), Flaw::Unsupported("squashfs compressor 9".into()));
        assert!(matches!(with(22, 200), Flaw::Corrupt(_)));
        assert!(matches!(with(67, 1), Flaw::Corrupt(_)));
    }
}
