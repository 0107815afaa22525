//! The superblock, checked against itself and against the size of the file: what an image is, and where its tables lie.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::compress;
use super::error::SquashfsError;

/// The length of the superblock, in bytes.
pub const SUPERBLOCK_SIZE: usize = size_of::<Superblock>();
const VERSION: u16 = 4;
/// In place of a table: there is none.
const ABSENT: u64 = u64::MAX;

/// The kernel's `squashfs_super_block`, under its names. Tables lie so many bytes from the start of the image.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Superblock {
    pub s_magic: U32,
    pub inodes: U32,
    pub mkfs_time: U32,
    pub block_size: U32,
    pub fragments: U32,
    pub compression: U16,
    pub block_log: U16,
    pub flags: U16,
    pub no_ids: U16,
    pub s_major: U16,
    pub s_minor: U16,
    pub root_inode: U64,
    pub bytes_used: U64,
    pub id_table_start: U64,
    pub xattr_id_table_start: U64,
    pub inode_table_start: U64,
    pub directory_table_start: U64,
    pub fragment_table_start: U64,
    pub lookup_table_start: U64,
}

const _: () = assert!(SUPERBLOCK_SIZE == 96);

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

/// Whether `bytes` begin with the magic of a little-endian squashfs.
#[must_use]
pub(crate) fn has_magic(bytes: &[u8]) -> bool {
    bytes.starts_with(b"hsqs")
}

impl Superblock {
    /// From the first bytes of an image with `available` bytes in all. That it has the magic is not asked again.
    ///
    /// # Errors
    /// `Truncated` where `available` is not enough, `Unsupported` for another version or an unknown compression, else `Corrupt`.
    pub fn from_bytes(bytes: &[u8], available: u64) -> Result<Self, SquashfsError> {
        let truncated = |needed| SquashfsError::Truncated { needed, present: available };
        let (sb, _) = Self::read_from_prefix(bytes).map_err(|_| truncated(SUPERBLOCK_SIZE as u64))?;
        if sb.s_major != VERSION {
            return Err(SquashfsError::Unsupported(format!("squashfs version {}", sb.s_major)));
        }
        if sb.compression_name().is_none() {
            return Err(SquashfsError::Unsupported(format!("squashfs compressor {}", sb.compression)));
        }
        if !(12..=20).contains(&sb.block_log.get()) || sb.block_size != 1 << sb.block_log.get() {
            return Err(SquashfsError::Corrupt("the squashfs block size is impossible"));
        }
        if sb.bytes_used < SUPERBLOCK_SIZE as u64 {
            return Err(SquashfsError::Corrupt("the squashfs size is impossible"));
        }
        if sb.bytes_used > available {
            return Err(truncated(sb.bytes_used.get()));
        }
        let inside =
            |start: &U64| *start == ABSENT || (SUPERBLOCK_SIZE as u64..sb.bytes_used.get()).contains(&start.get());
        match sb.tables().iter().all(inside) {
            true => Ok(sb),
            false => Err(SquashfsError::Corrupt("a squashfs table lies outside the image")),
        }
    }

    /// Three of them may be absent.
    fn tables(&self) -> [U64; 6] {
        [
            self.id_table_start,
            self.xattr_id_table_start,
            self.inode_table_start,
            self.directory_table_start,
            self.fragment_table_start,
            self.lookup_table_start,
        ]
    }

    fn compression_name(&self) -> Option<&'static str> {
        compress::name(self.compression.get())
    }

    /// Where the table of extended attributes begins, if there is one.
    pub(super) fn xattr_table(&self) -> Option<u64> {
        Some(self.xattr_id_table_start.get()).filter(|start| *start != ABSENT)
    }

    /// What it tells, for people.
    #[must_use]
    pub fn describe(&self) -> SquashfsInfo {
        SquashfsInfo {
            compression: self.compression_name().unwrap_or("unknown"),
            block_size: self.block_size.get(),
            inodes_total: self.inodes.get(),
            bytes_used: self.bytes_used.get(),
            created: self.mkfs_time.get(),
            ids: self.no_ids.get(),
        }
    }
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
        let needed = |bytes: &[u8], available| match Superblock::from_bytes(bytes, available) {
            Err(SquashfsError::Truncated { needed, present }) if present == available => Some(needed),
            _ => None,
        };
        assert!(Superblock::from_bytes(&sound(), 4096).is_ok());
        assert_eq!(needed(&sound(), 4095), Some(4096));
        assert_eq!(needed(&sound()[..95], 4096), Some(96));
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
        let sb = Superblock::from_bytes(&raw, 4096).unwrap();
        assert_eq!(sb.describe(), expected);
        assert_eq!((sb.xattr_table(), sb.fragment_table_start.get()), (None, 1000));
    }

    #[test]
    fn flaws_have_names() {
        let with = |at: usize, value: u8| {
            let mut raw = sound();
            raw[at] = value;
            Superblock::from_bytes(&raw, 4096).unwrap_err()
        };
        assert_eq!(with(28, 3).to_string(), "uses squashfs version 3, which condatainer does not support");
        assert_eq!(with(20, 9).to_string(), "uses squashfs compressor 9, which condatainer does not support");
        assert!(matches!(with(22, 200), SquashfsError::Corrupt(_)));
        assert!(matches!(with(67, 1), SquashfsError::Corrupt(_)));
    }
}
