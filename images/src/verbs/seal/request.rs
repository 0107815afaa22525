//! What is to be sealed, and how: the options of `overlay seal`.

use std::path::PathBuf;

use super::error::SealError;
use crate::tools::mksquashfs::Compression;

/// What is to be sealed, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The image.
    pub image: PathBuf,
    /// Where the layer goes.
    pub layer: PathBuf,
    /// Replaces a layer that is there.
    pub force: bool,
    /// Gives everything in the layer to root.
    pub root_owned: bool,
    /// How it is compressed.
    pub compression: Compression,
    /// How hard; mksquashfs's own choice otherwise.
    pub level: Option<u32>,
    /// Bytes that are compressed together: a power of two from 4 KiB to 1 MiB.
    pub block_size: u32,
    /// Processors to be used; all otherwise. The layer is the same.
    pub processors: Option<u32>,
    /// No time in the layer is later than this, in seconds since 1970 (`SOURCE_DATE_EPOCH`).
    pub latest: Option<u32>,
    /// The base that the image is used on. Needed only where a directory hides all of what lies below it.
    pub base: Option<PathBuf>,
    /// The layers between base and image, lowest first.
    pub layers: Vec<PathBuf>,
}

impl Request {
    /// `image` to `layer`, in the usual way.
    #[must_use]
    pub fn new(image: PathBuf, layer: PathBuf) -> Self {
        Self {
            image,
            layer,
            force: false,
            root_owned: false,
            compression: Compression::default(),
            level: None,
            block_size: 128 << 10,
            processors: None,
            latest: None,
            base: None,
            layers: Vec::new(),
        }
    }

    /// Refuses a level that the compression does not have, and a block size that squashfs does not know.
    pub(super) fn check(&self) -> Result<(), SealError> {
        let range = self.compression.levels();
        if let Some(level) = self.level
            && !range.as_ref().is_some_and(|range| range.contains(&level))
        {
            let range = range.map(|range| (*range.start(), *range.end()));
            return Err(SealError::Level { level, compression: self.compression.name(), range });
        }
        let sound = self.block_size.is_power_of_two() && (4 << 10..=1 << 20).contains(&self.block_size);
        if sound { Ok(()) } else { Err(SealError::BlockSize { size: self.block_size }) }
    }
}
