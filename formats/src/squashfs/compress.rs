//! Decompression of one block, into no more bytes than the block may have.

use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::error::SquashfsError;

/// Memory that a block's own header may ask for, in bytes: twice the largest block.
const WINDOW: u32 = 2 << 20;
/// The same with what an xz decoder needs besides, in KiB.
const XZ_KIB: u32 = (WINDOW >> 10) + 1024;

/// How an image is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Gzip,
    Xz,
    Lz4,
    Zstd,
}

/// The name of a compression by its number in the superblock, supported or not.
pub(super) fn name(code: u16) -> Option<&'static str> {
    const NAMES: [&str; 6] = ["gzip", "lzma", "lzo", "xz", "lz4", "zstd"];
    NAMES.get(usize::from(code).checked_sub(1)?).copied()
}

impl Compression {
    pub(crate) fn from_code(code: u16) -> Result<Self, SquashfsError> {
        match code {
            1 => Ok(Self::Gzip),
            4 => Ok(Self::Xz),
            5 => Ok(Self::Lz4),
            6 => Ok(Self::Zstd),
            other => {
                let name = name(other).map_or_else(|| other.to_string(), str::to_owned);
                Err(SquashfsError::Unsupported(format!("squashfs compression {name}")))
            }
        }
    }

    /// The content of a compressed block of at most `limit` bytes. A decoder that panics over it has found damage, too.
    pub(crate) fn expand(self, packed: &[u8], limit: usize) -> Result<Vec<u8>, SquashfsError> {
        let expanded = catch_unwind(AssertUnwindSafe(|| self.decode(packed, limit)));
        match expanded {
            Ok(Ok(bytes)) if bytes.len() <= limit => Ok(bytes),
            Ok(Ok(_)) => Err(SquashfsError::Corrupt("a block is larger than it may be")),
            Ok(Err(_)) | Err(_) => Err(SquashfsError::Corrupt("a block cannot be decompressed")),
        }
    }

    /// At most one byte more than `limit`.
    fn decode(self, packed: &[u8], limit: usize) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip => read_up_to(flate2::bufread::ZlibDecoder::new(packed), limit),
            Self::Xz => read_up_to(lzma_rust2::XzReader::new_mem_limit(packed, false, XZ_KIB), limit),
            Self::Zstd => read_up_to(zstd(packed)?, limit),
            Self::Lz4 => lz4(packed, limit),
        }
    }
}

fn zstd(packed: &[u8]) -> io::Result<impl Read> {
    let mut decoder = ruzstd::decoding::FrameDecoder::new();
    decoder.set_max_window_size(u64::from(WINDOW));
    ruzstd::decoding::StreamingDecoder::new_with_decoder(packed, decoder).map_err(io::Error::other)
}

fn lz4(packed: &[u8], limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; limit];
    let length = lz4_flex::block::decompress_into(packed, &mut bytes).map_err(io::Error::other)?;
    bytes.truncate(length);
    Ok(bytes)
}

fn read_up_to(reader: impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_block_never_grows_beyond_its_limit() {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&[0; 1 << 20]).unwrap();
        let packed = encoder.finish().unwrap();
        assert_eq!(Compression::Gzip.expand(&packed, 1 << 20).unwrap().len(), 1 << 20);
        let error = Compression::Gzip.expand(&packed, 8192).unwrap_err();
        assert_eq!(error.to_string(), "is damaged: a block is larger than it may be");
        assert_eq!(Compression::Gzip.decode(&packed, 8192).unwrap().len(), 8193);
    }

    #[test]
    fn what_is_not_compressed_is_damage() {
        for compression in [Compression::Gzip, Compression::Xz, Compression::Lz4, Compression::Zstd] {
            let error = compression.expand(b"\xFFnothing that any of them has written", 8192).unwrap_err();
            assert!(matches!(error, SquashfsError::Corrupt(_)), "{compression:?}: {error}");
        }
    }
}
