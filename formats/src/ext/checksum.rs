//! Metadata checksums (crc32c) as ext4 computes them.

use super::inode::{CHECKSUM_HI_AT, CHECKSUM_LO_AT, EXTRA_ISIZE_AT, GENERATION_AT};
use crate::bytes::{put_u16, u16_at};

/// crc32c continued from `seed`, without the inversions that other uses of it apply.
pub(crate) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

/// The checksum that the raw inode `bytes` (a whole on-disk record) should carry.
pub fn inode_checksum(seed: u32, ino: u32, bytes: &[u8]) -> u32 {
    let mut copy = bytes.to_vec();
    let wide = is_wide(bytes);
    let _ = put_u16(&mut copy, CHECKSUM_LO_AT, 0);
    if wide {
        let _ = put_u16(&mut copy, CHECKSUM_HI_AT, 0);
    }
    let crc = crc32c(seed, &ino.to_le_bytes());
    let crc = crc32c(crc, copy.get(GENERATION_AT..GENERATION_AT + 4).unwrap_or_default());
    let crc = crc32c(crc, &copy);
    if wide { crc } else { crc & 0xFFFF }
}

/// The checksum that the raw inode carries now.
pub fn stored_inode_checksum(bytes: &[u8]) -> u32 {
    let low = u16_at(bytes, CHECKSUM_LO_AT).unwrap_or(0);
    let high = if is_wide(bytes) { u16_at(bytes, CHECKSUM_HI_AT).unwrap_or(0) } else { 0 };
    u32::from(low) | u32::from(high) << 16
}

/// Writes the right checksum into the raw inode.
pub fn seal_inode(seed: u32, ino: u32, bytes: &mut [u8]) {
    let checksum = inode_checksum(seed, ino, bytes);
    let _ = put_u16(bytes, CHECKSUM_LO_AT, (checksum & 0xFFFF) as u16);
    if is_wide(bytes) {
        let _ = put_u16(bytes, CHECKSUM_HI_AT, (checksum >> 16) as u16);
    }
}

/// Whether the inode has room for the upper half of the checksum.
fn is_wide(bytes: &[u8]) -> bool {
    bytes.len() > 128 && u16_at(bytes, EXTRA_ISIZE_AT).is_some_and(|extra| extra >= 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32c_is_the_raw_one() {
        // The usual check value of crc32c is the inverted result over an inverted start.
        assert_eq!(!crc32c(!0, b"123456789"), 0xE306_9283);
    }

    #[test]
    fn a_sealed_inode_verifies() {
        for size in [128, 256] {
            let mut inode: Vec<u8> = (0..size).map(|i| i as u8).collect();
            seal_inode(7, 12, &mut inode);
            assert_eq!(stored_inode_checksum(&inode), inode_checksum(7, 12, &inode));
            inode[2] ^= 1;
            assert_ne!(stored_inode_checksum(&inode), inode_checksum(7, 12, &inode));
        }
    }
}
