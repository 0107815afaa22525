//! Opening a path and telling its kind from its content, which the formats know.

use std::fs::{File, Metadata, OpenOptions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::libc::{O_CLOEXEC, O_NONBLOCK};

use super::error::ImageError;
use super::kind::{Image, Kind};
use condatainer_formats::ext::{self, Probe, Window};
use condatainer_formats::kind;
use condatainer_formats::squashfs::superblock::{SUPERBLOCK_SIZE, SquashfsInfo, Superblock};

/// An identified image and the very file that was looked at.
#[derive(Debug)]
pub struct Opened {
    /// What it is.
    pub image: Image,
    /// Open for reading.
    pub file: File,
}

impl Opened {
    /// Probes the ext file system in it; `None` when it has none.
    ///
    /// # Errors
    /// What [`ext::probe()`] says, with the path.
    pub fn probe(&self) -> Result<Option<Probe>, ImageError> {
        let probe = |window| ext::probe(&self.file, window).map_err(|e| ImageError::ext(&self.image.path, e));
        self.image.ext_window().map(probe).transpose()
    }
}

/// Tells what `path` is.
///
/// # Errors
/// When it cannot be read or is not an image; see [`ImageError`].
pub fn identify(path: &Path) -> Result<Image, ImageError> {
    open(path).map(|opened| opened.image)
}

/// As [`identify`], and keeps the file open, so that what follows is about the same file.
///
/// # Errors
/// As [`identify`].
pub fn open(path: &Path) -> Result<Opened, ImageError> {
    let io = |e| ImageError::io(path, e);
    refuse_special(path, &std::fs::metadata(path).map_err(io)?)?;
    // Between the two looks the path may have become a fifo: that must not block us either.
    let file = OpenOptions::new().read(true).custom_flags(O_CLOEXEC | O_NONBLOCK).open(path).map_err(io)?;
    let image = identify_file(path, &file)?;
    Ok(Opened { image, file })
}

/// Tells what an open file is, whatever its path leads to by now; `path` is what messages name.
pub(crate) fn identify_file(path: &Path, file: &File) -> Result<Image, ImageError> {
    let meta = file.metadata().map_err(|e| ImageError::io(path, e))?;
    refuse_special(path, &meta)?;
    if meta.is_dir() {
        return directory(path).map(|kind| describe(path, kind, Window::whole(0), &meta));
    }
    let (kind, content) = kind::kind_of(file, meta.size()).map_err(|e| ImageError::kind(path, e))?;
    Ok(describe(path, kind.into(), content, &meta))
}

/// Whether a user's own work may be in an open file: in an ext file system, or in the overlay of a SIF. Where one of them is
/// damaged it may, since nobody can tell.
///
/// # Errors
/// It is no file, or cannot be read.
pub fn may_hold_work(path: &Path, file: &File) -> Result<bool, ImageError> {
    match identify_file(path, file) {
        Ok(image) => Ok(match &image.kind {
            Kind::Ext(_) => true,
            Kind::Sif(sif) => sif.overlays().next().is_some(),
            Kind::Squashfs | Kind::Directory => false,
        }),
        Err(error @ (ImageError::NotAFile { .. } | ImageError::PermissionDenied { .. } | ImageError::Io { .. })) => {
            Err(error)
        }
        Err(_) => {
            let size = file.metadata().map_err(|error| ImageError::io(path, error))?.size();
            kind::resembles_writable(file, size).map_err(|error| ImageError::io(path, error))
        }
    }
}

fn describe(path: &Path, kind: Kind, content: Window, meta: &Metadata) -> Image {
    Image {
        path: path.to_owned(),
        kind,
        dev: meta.dev(),
        ino: meta.ino(),
        uid: meta.uid(),
        gid: meta.gid(),
        mode: meta.mode() & 0o7777,
        size_bytes: meta.size(),
        allocated_bytes: meta.blocks().saturating_mul(512),
        content,
    }
}

fn refuse_special(path: &Path, meta: &Metadata) -> Result<(), ImageError> {
    let kind = meta.file_type();
    let what = match () {
        () if kind.is_fifo() => "a fifo",
        () if kind.is_socket() => "a socket",
        () if kind.is_block_device() => "a block device",
        () if kind.is_char_device() => "a character device",
        () => return Ok(()),
    };
    Err(ImageError::NotAFile { path: path.to_owned(), what })
}

fn directory(path: &Path) -> Result<Kind, ImageError> {
    if path.join("oci-layout").is_file() {
        return Err(ImageError::Unknown {
            path: path.to_owned(),
            found: Some("an OCI image layout (build a .sif from it)"),
        });
    }
    Ok(Kind::Directory)
}

/// What a squashfs tells about itself.
///
/// # Errors
/// It cannot be read, or is not in order.
pub fn squashfs_info(opened: &Opened) -> Result<SquashfsInfo, ImageError> {
    squashfs_info_at(opened, opened.image.content)
}

/// What the squashfs in `window` tells about itself.
///
/// # Errors
/// As [`squashfs_info`].
pub fn squashfs_info_at(opened: &Opened, window: Window) -> Result<SquashfsInfo, ImageError> {
    let path = &opened.image.path;
    let mut head = [0; SUPERBLOCK_SIZE];
    ext::read_exact_at(&opened.file, &mut head, window.offset).map_err(|e| ImageError::io(path, e))?;
    let sb = Superblock::from_bytes(&head, window.size).map_err(|e| ImageError::squashfs(path, e))?;
    Ok(sb.describe())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_and_a_missing_one() {
        let empty = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(identify(empty.path()), Err(ImageError::Empty { .. })));
        assert!(matches!(identify(Path::new("/nowhere/at/all")), Err(ImageError::NotFound { .. })));
        assert!(matches!(identify(&empty.path().join("x")), Err(ImageError::NotFound { .. })));
    }

    #[test]
    fn devices_are_refused_by_name() {
        let error = identify(Path::new("/dev/null")).unwrap_err();
        assert_eq!(error.to_string(), "/dev/null: is a character device, not an image");
    }
}
