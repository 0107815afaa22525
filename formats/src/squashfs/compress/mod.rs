//! Decompression of one block, into no more bytes than the block may have.

mod lzo;

use std::cell::Cell;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::LocalKey;

use super::error::SquashfsError;

/// Memory that an xz block's own header may ask for, in KiB: twice the largest block, and what a decoder needs besides.
const XZ_KIB: u32 = (2 << 10) + 1024;

/// How an image is compressed: everything that the kernel can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Gzip,
    Lzo,
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
            3 => Ok(Self::Lzo),
            4 => Ok(Self::Xz),
            5 => Ok(Self::Lz4),
            6 => Ok(Self::Zstd),
            other => {
                let name = name(other).map_or_else(|| other.to_string(), str::to_owned);
                Err(SquashfsError::Unsupported(format!("squashfs compression {name}")))
            }
        }
    }

    /// The content of a compressed block of at most `limit` bytes, in `buffer`, which is empty. A decoder that panics over it has found
    /// damage, too.
    pub(crate) fn expand(self, packed: &[u8], limit: usize, buffer: Vec<u8>) -> Result<Vec<u8>, SquashfsError> {
        let expanded = catch_unwind(AssertUnwindSafe(|| self.decode(packed, limit, buffer)));
        match expanded {
            Ok(Ok(bytes)) if bytes.len() <= limit => Ok(bytes),
            Ok(Ok(_)) => Err(SquashfsError::Corrupt("a block is larger than it may be")),
            Ok(Err(_)) | Err(_) => Err(SquashfsError::Corrupt("a block cannot be decompressed")),
        }
    }

    /// At most one byte more than `limit`.
    fn decode(self, packed: &[u8], limit: usize, mut buffer: Vec<u8>) -> io::Result<Vec<u8>> {
        // One byte more shows a block that is too long.
        buffer.reserve_exact(limit + 1);
        match self {
            Self::Gzip => gzip(packed, limit, buffer),
            Self::Lzo => lzo::expand(packed, limit, buffer).ok_or(io::ErrorKind::InvalidData.into()),
            Self::Xz => xz(packed, limit, buffer),
            Self::Zstd => zstd(packed, buffer),
            Self::Lz4 => lz4(packed, limit, buffer),
        }
    }
}

thread_local! {
    /// Decoders that a thread uses again: making one costs as much as a small block. They are taken out while they work, so none
    /// that has panicked comes back.
    static INFLATE: Cell<Option<flate2::Decompress>> = const { Cell::new(None) };
    static ZSTD: Cell<Option<zstd_safe::DCtx<'static>>> = const { Cell::new(None) };
}

/// Lets this thread's decoder work.
fn with<D: 'static, T>(
    kept: &'static LocalKey<Cell<Option<D>>>,
    make: impl FnOnce() -> Option<D>,
    work: impl FnOnce(&mut D) -> io::Result<T>,
) -> io::Result<T> {
    let mut decoder = kept.take().or_else(make).ok_or(io::ErrorKind::OutOfMemory)?;
    let result = work(&mut decoder);
    kept.set(Some(decoder));
    result
}

fn gzip(packed: &[u8], limit: usize, mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    with(
        &INFLATE,
        || Some(flate2::Decompress::new(true)),
        |decoder| {
            decoder.reset(true);
            match decoder.decompress_vec(packed, &mut bytes, flate2::FlushDecompress::Finish)? {
                flate2::Status::StreamEnd => Ok(bytes),
                _ if bytes.len() > limit => Ok(bytes),
                _ => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        },
    )
}

/// Into a buffer that is there, so that no header can ask for a window.
fn zstd(packed: &[u8], mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    with(&ZSTD, zstd_safe::DCtx::try_create, |decoder| {
        decoder.decompress(&mut bytes, packed).map_err(|code| io::Error::other(zstd_safe::get_error_name(code)))?;
        Ok(bytes)
    })
}

fn xz(packed: &[u8], limit: usize, mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    lzma_rust2::XzReader::new_mem_limit(packed, false, XZ_KIB).take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn lz4(packed: &[u8], limit: usize, mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    bytes.resize(limit, 0);
    let length = lz4_flex::block::decompress_into(packed, &mut bytes).map_err(io::Error::other)?;
    bytes.truncate(length);
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
        assert_eq!(Compression::Gzip.expand(&packed, 1 << 20, Vec::new()).unwrap().len(), 1 << 20);
        let error = Compression::Gzip.expand(&packed, 8192, Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "is damaged: a block is larger than it may be");
        assert_eq!(Compression::Gzip.decode(&packed, 8192, Vec::new()).unwrap().len(), 8193);
    }

    #[test]
    fn what_is_not_compressed_is_damage() {
        for compression in [Compression::Gzip, Compression::Lzo, Compression::Xz, Compression::Lz4, Compression::Zstd] {
            let error = compression.expand(b"\xFFnothing that any of them has written", 8192, Vec::new()).unwrap_err();
            assert!(matches!(error, SquashfsError::Corrupt(_)), "{compression:?}: {error}");
        }
    }
}
