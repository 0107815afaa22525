//! The superblock: where the tables of an image lie.

use super::compress::Compression;
use super::error::SquashfsError;
use super::header::check as check_squashfs;
use super::inode::Reference;
use crate::bytes::{u16_at, u32_at, u64_at};

/// The fields of a superblock that matter here. Offsets are in bytes from the start of the image.
pub(super) struct Superblock {
    pub block_size: u32,
    pub(crate) fragments: u32,
    pub(crate) compression: Compression,
    pub ids: u16,
    pub(crate) root: Reference,
    pub(crate) used: u64,
    pub(crate) id_table: u64,
    pub(crate) xattr_table: Option<u64>,
    pub inode_table: u64,
    pub(crate) directory_table: u64,
    pub(crate) fragment_table: u64,
}

impl Superblock {
    /// From the first bytes of an image with `available` bytes in all.
    pub(super) fn from_bytes(bytes: &[u8], available: u64) -> Result<Self, SquashfsError> {
        check_squashfs(bytes, available).map_err(|flaw| SquashfsError::of(flaw, available))?;
        Self::fields(bytes).ok_or(SquashfsError::Corrupt("the superblock is too short"))?
    }

    fn fields(bytes: &[u8]) -> Option<Result<Self, SquashfsError>> {
        let compression = match Compression::from_code(u16_at(bytes, 20)?) {
            Ok(compression) => compression,
            Err(error) => return Some(Err(error)),
        };
        Some(Ok(Self {
            block_size: u32_at(bytes, 12)?,
            fragments: u32_at(bytes, 16)?,
            compression,
            ids: u16_at(bytes, 26)?,
            root: Reference(u64_at(bytes, 32)?),
            used: u64_at(bytes, 40)?,
            id_table: u64_at(bytes, 48)?,
            xattr_table: u64_at(bytes, 56).filter(|at| *at != u64::MAX),
            inode_table: u64_at(bytes, 64)?,
            directory_table: u64_at(bytes, 72)?,
            fragment_table: u64_at(bytes, 80)?,
        }))
    }
}
