//! An ext image as a layer: its whole tree, or what lies in its directory `upper`.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;

use condatainer_formats::ext::{self, ExtError, FileType, Stat, Volume, Window, Xattr};

use super::{Attributes, Entry, Key, Layer, Time};

/// Directories with more names are not believed.
const MOST_NAMES: usize = 500_000;

/// Where in the file system the layer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At its root: a base image.
    Root,
    /// At its directory `upper`: a workspace image.
    Upper,
}

/// An open image. It reads through the file's descriptor only, which needs no permission to write.
pub struct ExtLayer {
    volume: Volume<'static>,
    root: u32,
}

impl ExtLayer {
    /// The file system in `window` of `file`, which must not change any more: whoever opens it has its lock. Of its metadata up to `cached`
    /// bytes are kept in memory.
    ///
    /// # Errors
    /// No readable ext file system, or none with a directory `upper` where that is the start.
    pub fn open(file: File, window: Window, start: Start, cached: usize) -> Result<Self, ExtError> {
        let volume = Volume::open(Box::new(file), window, cached)?;
        let root = match start {
            Start::Root => volume.root(),
            Start::Upper => volume.upper()?,
        };
        Ok(Self { volume, root })
    }

    fn stat(&self, key: Key) -> io::Result<Stat> {
        self.volume.stat(number(key)?).map_err(io_error)
    }

    /// The inode of `key`, which must be of this kind.
    fn of_kind(&self, key: Key, kind: FileType, otherwise: i32) -> io::Result<u32> {
        match self.stat(key)?.kind {
            found if found == kind => number(key),
            _ => Err(io::Error::from_raw_os_error(otherwise)),
        }
    }
}

impl Layer for ExtLayer {
    fn root(&self) -> Key {
        Key(self.root.into())
    }

    fn attributes(&self, key: Key) -> io::Result<Attributes> {
        let stat = self.stat(key)?;
        // The kernel does not show such an inode either.
        if stat.kind == FileType::Unknown {
            return Err(io_error(ExtError::corrupt(format!("inode {} is {}", key.0, stat.kind.describe()))));
        }
        let Stat { kind, mode, ids, size, device, .. } = stat;
        Ok(Attributes {
            kind,
            mode,
            ids,
            size,
            blocks: stat.sectors,
            links: stat.links.into(),
            device,
            accessed: time(stat.accessed),
            modified: time(stat.modified),
            changed: time(stat.changed),
        })
    }

    fn entries(&self, directory: Key, visit: &mut dyn FnMut(Entry<'_>) -> bool) -> io::Result<()> {
        let ino = self.of_kind(directory, FileType::Directory, libc::ENOTDIR)?;
        let mut count = 0;
        let walked = self.volume.entries(ino, &mut |entry| {
            count += 1;
            let child = Entry { name: entry.name, key: Key(entry.ino.into()), kind: entry.file_type };
            if count <= MOST_NAMES && visit(child) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        walked.map_err(io_error)?;
        if count > MOST_NAMES { Err(io::Error::from_raw_os_error(libc::EFBIG)) } else { Ok(()) }
    }

    fn read(&self, file: Key, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let ino = self.of_kind(file, FileType::Regular, libc::EINVAL)?;
        self.volume.read(ino, offset, buf).map_err(io_error)
    }

    fn target(&self, link: Key) -> io::Result<Vec<u8>> {
        let ino = self.of_kind(link, FileType::Symlink, libc::EINVAL)?;
        self.volume.target(ino).map_err(io_error)
    }

    fn xattrs(&self, key: Key) -> io::Result<Vec<Xattr>> {
        self.volume.xattrs(number(key)?).map_err(io_error)
    }

    fn seek(&self, file: Key, offset: u64, hole: bool) -> io::Result<Option<u64>> {
        let ino = self.of_kind(file, FileType::Regular, libc::EINVAL)?;
        self.volume.seek(ino, offset, hole).map_err(io_error)
    }
}

fn number(key: Key) -> io::Result<u32> {
    u32::try_from(key.0).map_err(|_| io_error(ExtError::corrupt(format!("inode {} does not exist", key.0))))
}

fn time(ext::Time { seconds, nanoseconds }: ext::Time) -> Time {
    Time { seconds, nanoseconds }
}

fn io_error(error: ExtError) -> io::Error {
    match error {
        ExtError::Io(error) => error,
        other => io::Error::other(other),
    }
}

impl std::fmt::Debug for ExtLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExtLayer").field("root", &self.root).finish_non_exhaustive()
    }
}
