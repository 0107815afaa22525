//! The squashfs superblock, as far as it tells a whole image from a broken one.

use crate::bytes::{u16_at, u32_at, u64_at};

/// The length of the superblock, in bytes.
pub const SUPERBLOCK_SIZE: usize = 96;
const ABSENT: u64 = u64::MAX;

/// What is wrong with something that begins like a squashfs.
#[derive(Debug, PartialEq, Eq)]
pub enum Flaw {
    Truncated { needed: u64 },
    Corrupt(&'static str),
    Unsupported(String),
}

/// What the superblock of a squashfs tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct SquashfsInfo {
    /// `gzip`, `lzma`, `lzo`, `xz`, `lz4` or `zstd`.
    pub compression: &'static str,
    /// In bytes.
    pub block_size: u32,
    /// Number of inodes.
    pub inodes_total: u32,
    /// Length of the file system, in bytes; the file may be padded.
    pub bytes_used: u64,
    /// When it was made, in seconds since 1970.
    pub created: u32,
    /// Number of different users and groups that own something in it.
    pub ids: u16,
}

/// What the superblock at the start of `bytes` tells; [`check`] has found it sound.
pub fn describe(bytes: &[u8]) -> Option<SquashfsInfo> {
    Some(SquashfsInfo {
        compression: compression(u16_at(bytes, 20)?)?,
        block_size: u32_at(bytes, 12)?,
        inodes_total: u32_at(bytes, 4)?,
        bytes_used: u64_at(bytes, 40)?,
        created: u32_at(bytes, 8)?,
        ids: u16_at(bytes, 26)?,
    })
}

fn compression(code: u16) -> Option<&'static str> {
    const NAMES: [&str; 6] = ["gzip", "lzma", "lzo", "xz", "lz4", "zstd"];
    NAMES.get(usize::from(code).checked_sub(1)?).copied()
}

/// Whether `bytes` begin with the magic of a little-endian squashfs.
pub fn has_magic(bytes: &[u8]) -> bool {
    bytes.starts_with(b"hsqs")
}

/// How many inodes the superblock at the start of `bytes` counts.
pub fn inodes(bytes: &[u8]) -> Option<u64> {
    u32_at(bytes, 4).map(u64::from)
}

/// Checks the superblock at the start of `bytes` against itself and the `available` bytes behind it.
pub fn check(bytes: &[u8], available: u64) -> Result<(), Flaw> {
    let bytes = bytes.get(..SUPERBLOCK_SIZE).ok_or(Flaw::Truncated { needed: SUPERBLOCK_SIZE as u64 })?;
    check_version(bytes)?;
    check_blocks(bytes)?;
    check_tables(bytes, available)
}

fn check_version(bytes: &[u8]) -> Result<(), Flaw> {
    match (u16_at(bytes, 28), u16_at(bytes, 20)) {
        (Some(4), Some(code)) if compression(code).is_some() => Ok(()),
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
    fn told_in_full() {
        let mut raw = sound();
        raw[4..8].copy_from_slice(&7_u32.to_le_bytes());
        raw[8..12].copy_from_slice(&1_700_000_000_u32.to_le_bytes());
        raw[26..28].copy_from_slice(&3_u16.to_le_bytes());
        let expected = SquashfsInfo {
            compression: "zstd",
            block_size: 131_072,
            inodes_total: 7,
            bytes_used: 4096,
            created: 1_700_000_000,
            ids: 3,
        };
        assert_eq!(describe(&raw), Some(expected));
        assert_eq!(describe(&raw[..27]), None);
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
