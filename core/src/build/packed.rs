//! The layer itself: out of the SIF that Apptainer has made, and what it says about its own making.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::error::BuildError;
use super::progress::{News, Watch};
use super::recipe::definition::{OF_APPTAINER, RECORDED};
use condatainer_formats::ext::{FileType, Window};
use condatainer_formats::squashfs::{Squashfs, SquashfsError};
use condatainer_images::image::{self, ImageError, Kind, Opened, PartitionFs};

/// Copied between two looks at the progress, in bytes.
const STRIDE: u64 = 32 << 20;
/// More than this is no definition, in bytes.
const LONGEST: u64 = 1 << 20;

/// The squashfs in a layer or SIF.
pub(super) struct Packed {
    file: File,
    window: Window,
    /// How it is compressed.
    pub(super) compression: &'static str,
}

impl Packed {
    /// Finds it.
    pub(super) fn open(path: &Path) -> Result<Self, BuildError> {
        let opened = image::open(path)?;
        let window = window_of(&opened)?;
        let compression = image::squashfs_info_at(&opened, window)?.compression;
        Ok(Self { file: opened.file, window, compression })
    }

    /// Its length, in bytes.
    pub(super) fn size(&self) -> u64 {
        self.window.size
    }

    /// Copies it to an empty file; false when that was broken off.
    pub(super) fn copy_to(&self, to: &File, watch: Watch<'_>) -> io::Result<bool> {
        let (mut from, mut done) = (&self.file, 0);
        from.seek(SeekFrom::Start(self.window.offset))?;
        while done < self.window.size {
            if watch(News::Written(done, self.window.size)).is_break() {
                return Ok(false);
            }
            let wanted = STRIDE.min(self.window.size - done);
            // Within the kernel, where the file systems can.
            if io::copy(&mut from.take(wanted), &mut &*to)? != wanted {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            done += wanted;
        }
        Ok(watch(News::Written(done, self.window.size)).is_continue())
    }

    /// The definition that it was built from, and where that is recorded in it.
    pub(super) fn recorded(&self, path: &Path) -> Result<Option<(&'static str, Vec<u8>)>, BuildError> {
        for place in [RECORDED, OF_APPTAINER] {
            if let Some(text) = self.text(path, place)? {
                return Ok(Some((place, text)));
            }
        }
        Ok(None)
    }

    /// The content of a file in it; nothing where there is none.
    pub(super) fn text(&self, path: &Path, place: &str) -> Result<Option<Vec<u8>>, BuildError> {
        let damaged = |error: SquashfsError| {
            BuildError::Image(ImageError::Corrupt { path: path.into(), what: error.to_string() })
        };
        let file = self.file.try_clone().map_err(|error| ImageError::io(path, error))?;
        let tree = Squashfs::open(file, self.window).map_err(damaged)?;
        read(&tree, place).map_err(damaged)
    }
}

/// The content of a regular file; nothing where there is none.
fn read(tree: &Squashfs, path: &str) -> Result<Option<Vec<u8>>, SquashfsError> {
    let mut inode = tree.inode(tree.root())?;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        if inode.kind != FileType::Directory {
            return Ok(None);
        }
        let entries = tree.entries(&inode)?;
        let Some(entry) = entries.into_iter().find(|entry| entry.name == name.as_bytes()) else { return Ok(None) };
        inode = tree.inode(entry.reference)?;
    }
    if inode.kind != FileType::Regular {
        return Ok(None);
    }
    let mut text = Vec::new();
    tree.open_file(&inode)?.take(LONGEST + 1).read_to_end(&mut text)?;
    Ok(Some(text))
}

fn window_of(opened: &Opened) -> Result<Window, BuildError> {
    let path = &opened.image.path;
    let other = |what: &str| BuildError::NotSquashfs { path: path.clone(), what: what.into() };
    match &opened.image.kind {
        Kind::Squashfs => Ok(opened.image.content),
        Kind::Sif(sif) => match sif.primary() {
            Some(primary) if primary.fs == PartitionFs::Squashfs => Ok(primary.window),
            Some(primary) if primary.fs == PartitionFs::Encrypted => Err(other("an encrypted SIF")),
            _ => Err(other("a SIF without a squashfs")),
        },
        kind => Err(other(kind.name())),
    }
}
