//! Opening a file without being led astray or made to wait, and what is then known about it.

use std::ffi::OsStr;
use std::fs::{File, FileType, Metadata};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat, readlinkat};
use rustix::io::Errno;

use super::error::TrustError;
use super::mode::{WRITABLE_BY_ALL, WRITABLE_BY_GROUP};
use super::open_dir::directory_of;
use super::owners::{Owners, is_private, is_unmapped, name_of, name_of_group};

/// Never waits (a fifo, a modem), and never becomes the terminal of the process.
const CAREFULLY: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);
const ACL: &str = "system.posix_acl_access";

/// Which symbolic links at the end of a path are followed.
#[derive(Clone, Copy, Debug)]
pub enum Links<'a> {
    /// None: where others can make names, and we never make links.
    Refuse,
    /// Those of these users: whoever is believed may as well say that the file lies elsewhere.
    Of(&'a Owners),
    /// All: for a path that the caller wrote down.
    Follow,
}

/// An open regular file, and what is known about it. Nothing here asks its name again.
#[derive(Debug)]
pub struct Opened {
    file: File,
    meta: Metadata,
    path: PathBuf,
}

/// Opens a regular file for reading.
///
/// # Errors
/// Nothing is there ([`TrustError::is_not_found`]), it is something else, or a link that is not followed.
pub fn open(path: &Path, links: Links<'_>) -> Result<Opened, TrustError> {
    match links {
        Links::Follow => open_with(path, path, OFlags::empty()),
        Links::Refuse => open_itself(path, &Owners::nobody()),
        Links::Of(owners) => open_itself(path, owners),
    }
}

fn open_itself(path: &Path, owners: &Owners) -> Result<Opened, TrustError> {
    match open_with(path, path, OFlags::NOFOLLOW) {
        Err(TrustError::Io { source, .. }) if source.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            open_with(&target(path, owners)?, path, OFlags::empty())
        }
        opened => opened,
    }
}

/// Where a link leads, if one of `owners` has made this very link.
fn target(path: &Path, owners: &Owners) -> Result<PathBuf, TrustError> {
    let io = |errno: Errno| TrustError::Io { path: path.into(), source: errno.into() };
    let link = openat(CWD, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).map_err(io)?;
    let owner = rustix::fs::fstat(&link).map_err(io)?.st_uid;
    if !owners.has(owner) {
        return Err(TrustError::Link { path: path.into(), owner: name_of(owner) });
    }
    let to = readlinkat(&link, "", Vec::new()).map_err(io)?;
    Ok(directory_of(path).join(OsStr::from_bytes(to.as_bytes())))
}

fn open_with(at: &Path, called: &Path, more: OFlags) -> Result<Opened, TrustError> {
    open_at(CWD, at.as_os_str(), called, more)
}

/// As [`open`], below an open directory; `called` is what messages name.
pub(super) fn open_at(directory: impl AsFd, name: &OsStr, called: &Path, more: OFlags) -> Result<Opened, TrustError> {
    let file = match openat(directory, name, CAREFULLY | more, Mode::empty()) {
        Ok(file) => File::from(file),
        // How the kernel says that a socket cannot be opened, or a device without a driver.
        Err(Errno::NXIO | Errno::NODEV) => {
            return Err(TrustError::NotAFile { path: called.into(), what: "a socket or a device" });
        }
        Err(errno) => return Err(TrustError::Io { path: called.into(), source: errno.into() }),
    };
    let meta = file.metadata().map_err(|source| TrustError::Io { path: called.into(), source })?;
    match what(meta.file_type()) {
        Some(what) => Err(TrustError::NotAFile { path: called.into(), what }),
        None => Ok(Opened { file, meta, path: called.into() }),
    }
}

fn what(kind: FileType) -> Option<&'static str> {
    match () {
        () if kind.is_file() => None,
        () if kind.is_dir() => Some("a directory"),
        () if kind.is_fifo() => Some("a fifo"),
        () if kind.is_block_device() || kind.is_char_device() => Some("a device"),
        () => Some("something else"),
    }
}

impl Opened {
    /// The open file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Its owner.
    #[must_use]
    pub fn owner(&self) -> u32 {
        self.meta.uid()
    }

    /// Permissions, with the set-id bits and the sticky bit.
    #[must_use]
    pub fn mode(&self) -> u32 {
        self.meta.mode() & 0o7777
    }

    /// Device and inode.
    #[must_use]
    pub fn identity(&self) -> (u64, u64) {
        (self.meta.dev(), self.meta.ino())
    }

    /// Its content.
    ///
    /// # Errors
    /// There is more than `largest` bytes, or it cannot be read.
    pub fn read(&self, largest: u64) -> Result<Vec<u8>, TrustError> {
        let mut bytes = Vec::new();
        let read = (&self.file).take(largest.saturating_add(1)).read_to_end(&mut bytes);
        match read.map_err(|source| self.io(source))? as u64 {
            length if length > largest => Err(TrustError::TooLarge { path: self.path.clone(), largest }),
            _ => Ok(bytes),
        }
    }

    /// Its content as text.
    ///
    /// # Errors
    /// As [`Opened::read`], or it is no text.
    pub fn read_text(&self, largest: u64) -> Result<String, TrustError> {
        String::from_utf8(self.read(largest)?).map_err(|_| TrustError::NotText { path: self.path.clone() })
    }

    /// Refuses a file that one of `owners` has not written, and written alone.
    ///
    /// # Errors
    /// It belongs to somebody else, or others can write it.
    pub(crate) fn require_of(&self, owners: &Owners) -> Result<(), TrustError> {
        let is_of_them = if is_unmapped(self.owner()) { self.is_out_of_reach() } else { owners.has(self.owner()) };
        if !is_of_them {
            return Err(TrustError::Owner {
                path: self.path.clone(),
                owner: name_of(self.owner()),
                trusted: owners.in_words(),
            });
        }
        match self.who_else() {
            None => Ok(()),
            Some(who) => Err(TrustError::Writable { path: self.path.clone(), owner: name_of(self.owner()), who }),
        }
    }

    /// As [`Opened::require_of`] root alone, and no group at all may write it, root's own neither: one line of `/etc/group` adds
    /// others to that.
    pub(super) fn require_of_root(&self) -> Result<(), TrustError> {
        self.require_of(&Owners::root())?;
        match self.mode() & WRITABLE_BY_GROUP {
            0 => Ok(()),
            _ => Err(TrustError::Writable {
                path: self.path.clone(),
                owner: name_of(self.owner()),
                who: format!("group {}", name_of_group(self.meta.gid())),
            }),
        }
    }

    /// Whether no stranger could have put it there, in a directory that nobody but its owner can write to. That has to do where
    /// root's files and a stranger's look alike.
    fn is_out_of_reach(&self) -> bool {
        let closed = |meta: Metadata| meta.mode() & (WRITABLE_BY_ALL | WRITABLE_BY_GROUP) == 0;
        directory_of(&self.path).metadata().is_ok_and(closed)
    }

    /// Who can write it besides its owner.
    fn who_else(&self) -> Option<String> {
        who_else(&self.meta, &self.file)
    }

    fn io(&self, source: io::Error) -> TrustError {
        TrustError::Io { path: self.path.clone(), source }
    }
}

/// Who can write an open file or directory besides its owner.
pub(super) fn who_else(meta: &Metadata, file: &File) -> Option<String> {
    if meta.mode() & WRITABLE_BY_ALL != 0 {
        return Some("everybody".into());
    }
    let by_group = meta.mode() & WRITABLE_BY_GROUP != 0;
    let by_others = by_group && (!is_private(meta.gid(), meta.uid()) || has_list(file));
    by_others.then(|| format!("group {}", name_of_group(meta.gid())))
}

/// Whether a list of access rights may name others; the bits of the group then are those of the list. A descriptor by which
/// nothing is read (O_PATH) cannot be asked itself.
fn has_list(file: &File) -> bool {
    let again = format!("/proc/self/fd/{}", file.as_raw_fd());
    match xattr::get_deref(again, ACL) {
        Ok(list) => list.is_some(),
        Err(error) => error.raw_os_error() != Some(nix::libc::EOPNOTSUPP),
    }
}
