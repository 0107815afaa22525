//! Opening a path and telling its kind from the first bytes.

use std::fs::{File, Metadata, OpenOptions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::libc::{O_CLOEXEC, O_NONBLOCK};

use super::error::ImageError;
use super::kind::{Image, Kind};
use condatainer_formats::ext::{self, ExtError, Probe, ReadAt, Window};
use condatainer_formats::foreign;
use condatainer_formats::sif::{self, Sif};
use condatainer_formats::squashfs::header::{self as squashfs, SquashfsInfo};

/// Enough for every magic number: a superblock of ext ends at 2048, and a launch line may stand in front of it.
const HEAD: usize = 4096;
/// The end of the line that old SIF-less images begin with, so that they could be run as programs.
const LAUNCH: &[u8] = b" run-singularity";

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
    /// What [`ext::probe`] says, with the path.
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
pub fn identify_file(path: &Path, file: &File) -> Result<Image, ImageError> {
    let meta = file.metadata().map_err(|e| ImageError::io(path, e))?;
    refuse_special(path, &meta)?;
    let (kind, content) = if meta.is_dir() { directory(path)? } else { kind_of(path, file, meta.size())? };
    Ok(describe(path, kind, content, &meta))
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
            let head = read_head(file, size).map_err(|error| ImageError::io(path, error))?;
            Ok(sif::has_magic(&head) || ext::has_magic(head.get(launch_line(&head)..).unwrap_or_default()))
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

fn directory(path: &Path) -> Result<(Kind, Window), ImageError> {
    if path.join("oci-layout").is_file() {
        return Err(ImageError::Unknown {
            path: path.to_owned(),
            found: Some("an OCI image layout (build a .sif from it)"),
        });
    }
    Ok((Kind::Directory, Window::whole(0)))
}

/// Tells what a file is from its content, `size` bytes long, and where in it the image itself lies. `path` is what errors
/// call it.
///
/// # Errors
/// When it is not an image; see [`ImageError`].
pub fn kind_of(path: &Path, reader: &dyn ReadAt, size: u64) -> Result<(Kind, Window), ImageError> {
    let head = read_head(reader, size).map_err(|e| ImageError::io(path, e))?;
    if head.is_empty() {
        return Err(ImageError::Empty { path: path.to_owned() });
    }
    if sif::has_magic(&head) {
        return Ok((Kind::Sif(read_sif(path, reader, &head, size)?), Window::whole(size)));
    }
    let skip = launch_line(&head);
    let content = Window { offset: skip as u64, size: size.saturating_sub(skip as u64) };
    let kind = bare_kind(path, reader, head.get(skip..).unwrap_or_default(), content)?;
    Ok((kind, content))
}

fn read_head(reader: &dyn ReadAt, size: u64) -> std::io::Result<Vec<u8>> {
    let mut head = vec![0; HEAD.min(usize::try_from(size).unwrap_or(HEAD))];
    ext::read_exact_at(reader, &mut head, 0)?;
    Ok(head)
}

/// The length of a launch line in front of the content; it ends with the first newline behind its marker.
fn launch_line(head: &[u8]) -> usize {
    let marker = head.windows(LAUNCH.len()).position(|w| w == LAUNCH);
    marker.filter(|&at| at > 0 && head.starts_with(b"#!")).map_or(0, |at| at + LAUNCH.len() + 1)
}

fn bare_kind(path: &Path, reader: &dyn ReadAt, head: &[u8], content: Window) -> Result<Kind, ImageError> {
    if squashfs::has_magic(head) {
        return squashfs::check(head, content.size)
            .map(|()| Kind::Squashfs)
            .map_err(|flaw| of_squashfs(path, flaw, content));
    }
    if ext::has_magic(head) {
        return ext_version(reader, content).map(Kind::Ext).map_err(|e| ImageError::ext(path, e));
    }
    Err(ImageError::Unknown { path: path.to_owned(), found: foreign::recognise(head) })
}

/// What a squashfs tells about itself.
pub fn squashfs_info(opened: &Opened) -> Result<SquashfsInfo, ImageError> {
    squashfs_info_at(opened, opened.image.content)
}

/// What the squashfs in `window` tells about itself.
pub fn squashfs_info_at(opened: &Opened, window: Window) -> Result<SquashfsInfo, ImageError> {
    let path = &opened.image.path;
    let mut head = vec![0; squashfs::SUPERBLOCK_SIZE];
    ext::read_exact_at(&opened.file, &mut head, window.offset).map_err(|e| ImageError::io(path, e))?;
    squashfs::check(&head, window.size).map_err(|flaw| of_squashfs(path, flaw, window))?;
    let damaged = || ImageError::Corrupt { path: path.clone(), what: "its squashfs header changed meanwhile".into() };
    squashfs::describe(&head).ok_or_else(damaged)
}

fn ext_version(reader: &dyn ReadAt, content: Window) -> Result<u8, ExtError> {
    ext::features(reader, content).map(|features| features.version())
}

fn read_sif(path: &Path, reader: &dyn ReadAt, head: &[u8], size: u64) -> Result<Sif, ImageError> {
    let flaw = |flaw| of_sif(path, flaw, size);
    let window = sif::descriptor_table(head, size).map_err(flaw)?;
    // Bounded: the table was found to lie in the file and to have a believable number of entries.
    let mut table = vec![0; usize::try_from(window.size).unwrap_or(0)];
    ext::read_exact_at(reader, &mut table, window.offset).map_err(|e| ImageError::io(path, e))?;
    sif::partitions(&table, size).map_err(flaw)
}

fn of_squashfs(path: &Path, flaw: squashfs::Flaw, content: Window) -> ImageError {
    let path = path.to_owned();
    match flaw {
        squashfs::Flaw::Truncated { needed } => {
            ImageError::Truncated { path, what: "squashfs", needed, present: content.size }
        }
        squashfs::Flaw::Corrupt(what) => ImageError::Corrupt { path, what: what.into() },
        squashfs::Flaw::Unsupported(what) => ImageError::Unsupported { path, what },
    }
}

fn of_sif(path: &Path, flaw: sif::Flaw, size: u64) -> ImageError {
    let path = path.to_owned();
    match flaw {
        sif::Flaw::Truncated { needed } => ImageError::Truncated { path, what: "SIF", needed, present: size },
        sif::Flaw::Corrupt(what) => ImageError::Corrupt { path, what: what.into() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launch_lines_are_skipped() {
        assert_eq!(launch_line(b"#!/usr/bin/env run-singularity\nhsqs"), 31);
        assert_eq!(launch_line(b"hsqs run-singularity\n"), 0);
        assert_eq!(launch_line(b""), 0);
    }

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
