//! Metadata checksums (crc32c) as ext4 computes them.

/// crc32c continued from `seed`, without the inversions that other uses of it apply.
pub(crate) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32c_is_the_raw_one() {
        // The usual check value of crc32c is the inverted result over an inverted start.
        assert_eq!(!crc32c(!0, b"123456789"), 0xE306_9283);
    }
}
