//! Getting an image to oneself: open for writing, locked, attached nowhere, and clean.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc::{O_CLOEXEC, O_NONBLOCK};

use crate::e2fsprogs::{self, ToolError};
use crate::ext::raw::{Fs, state_of};
use crate::ext::{State, Window};
use crate::holder;
use crate::image::{self, Image, ImageError, Opened};
use crate::lock::{self, Access, Availability, Guard, LockError};

/// An exit code of e2fsck up to this one: errors were corrected.
const CORRECTED: i32 = 1;

/// Why an image cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum HeldError {
    /// The path is not a usable image, or the file system inside is damaged or not supported.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// It is an image, but has no ext file system.
    #[error("{}: is a {kind} without a writable overlay; only ext3 images have owners to change", path.display())]
    NoExt {
        /// The image.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// The file cannot be opened for writing.
    #[error("{}: cannot be opened for writing: {error}", path.display())]
    NotWritable {
        /// The image.
        path: PathBuf,
        /// As the system said it.
        error: io::Error,
    },
    /// Somebody uses it.
    #[error("{}: is in use ({by}); try again when it is free", path.display())]
    Busy {
        /// The image.
        path: PathBuf,
        /// Who, as far as that can be told.
        by: String,
    },
    /// It was not unmounted cleanly.
    #[error("{}: {what}; run `e2fsck -p {}` first", path.display(), path.display())]
    Dirty {
        /// The image.
        path: PathBuf,
        /// What is left to be done.
        what: &'static str,
    },
    /// e2fsck was to clean it and did not.
    #[error("{}: {error}; run `e2fsck -f {}` and answer its questions", path.display(), path.display())]
    Tool {
        /// The image.
        path: PathBuf,
        /// What e2fsck said.
        error: ToolError,
    },
}

/// Whether the image is to be changed, or only looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Change,
    Look,
}

/// An image that is ours for as long as this value lives. A dry run only looked whether it could be.
pub(crate) struct Held {
    pub(crate) image: Image,
    pub(crate) file: File,
    pub(crate) window: Window,
    guard: Option<Guard>,
}

impl Held {
    /// Opens and locks the image at `path`.
    pub(crate) fn open(path: &Path, purpose: Purpose) -> Result<Self, HeldError> {
        let opened = image::open(path)?;
        let kind = opened.image.kind.name();
        let window = opened.image.ext_window().ok_or(HeldError::NoExt { path: path.into(), kind })?;
        let held = match purpose {
            Purpose::Look => Self::look(opened, window)?,
            Purpose::Change => Self::take(opened, window)?,
        };
        held.refuse_loops()?;
        Ok(held)
    }

    fn look(opened: Opened, window: Window) -> Result<Self, HeldError> {
        let Opened { image, file } = opened;
        match lock::query(&file, window, Access::Read) {
            Ok(Availability::Held(kind)) => Err(busy(&image, kind)),
            Ok(_) => Ok(Self { image, file, window, guard: None }),
            Err(error) => Err(HeldError::NotWritable { path: image.path, error }),
        }
    }

    fn take(opened: Opened, window: Window) -> Result<Self, HeldError> {
        let image = opened.image;
        let file = open_for_writing(&image)?;
        match lock::take(&file, window, Access::Write) {
            Ok(guard) => Ok(Self { image, file, window, guard: Some(guard) }),
            Err(LockError::Busy(kind)) => Err(busy(&image, kind)),
            Err(LockError::Io(error)) => Err(HeldError::NotWritable { path: image.path, error }),
        }
    }

    /// Set where the file system that holds the image has no locks.
    pub(crate) fn lock_unsupported(&self) -> Option<Errno> {
        self.guard.as_ref().and_then(|guard| guard.unsupported)
    }

    fn refuse_loops(&self) -> Result<(), HeldError> {
        let attached = lock::loops(self.image.dev, self.image.ino);
        match attached.iter().find(|device| device.touches(self.window)) {
            Some(device) => Err(self.busy_with(format!("attached to /dev/{}", device.name))),
            None => Ok(()),
        }
    }

    fn busy_with(&self, by: String) -> HeldError {
        HeldError::Busy { path: self.image.path.clone(), by }
    }

    /// Makes sure that nothing is left to be replayed or repaired, running e2fsck where that was asked for.
    /// True when e2fsck ran.
    pub(crate) fn make_clean(&self, replay: bool) -> Result<bool, HeldError> {
        let Err(dirty) = self.require_clean() else { return Ok(false) };
        self.refuse_silent_users()?;
        if !replay {
            return Err(dirty);
        }
        self.run_e2fsck().map_err(|error| HeldError::Tool { path: self.image.path.clone(), error })?;
        self.require_clean().map(|()| true)
    }

    fn require_clean(&self) -> Result<(), HeldError> {
        let fs = Fs::open(&self.file, self.window, u64::MAX)
            .map_err(|e| HeldError::Image(ImageError::ext(&self.image.path, e)))?;
        match trouble(state_of(&fs.sb)) {
            Some(what) => Err(HeldError::Dirty { path: self.image.path.clone(), what }),
            None => Ok(()),
        }
    }

    /// An image that is not clean may be mounted by somebody who does not lock, for instance plain fuse2fs.
    fn refuse_silent_users(&self) -> Result<(), HeldError> {
        match lock::users(self.image.dev, self.image.ino).first() {
            Some(user) => Err(self.busy_with(format!("open in {}, pid {}", user.comm, user.pid))),
            None => Ok(()),
        }
    }

    /// Through /proc e2fsck opens the very file that is locked, whatever its path has become or contains.
    fn run_e2fsck(&self) -> Result<(), ToolError> {
        let file = format!("/proc/{}/fd/{}?offset={}", std::process::id(), self.file.as_raw_fd(), self.window.offset);
        let mut command = e2fsprogs::command("e2fsck")?;
        e2fsprogs::run("e2fsck", command.arg("-p").arg(file), CORRECTED)
    }
}

fn open_for_writing(image: &Image) -> Result<File, HeldError> {
    let fail = |error| HeldError::NotWritable { path: image.path.clone(), error };
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).custom_flags(O_CLOEXEC | O_NONBLOCK).open(&image.path).map_err(fail)?;
    let meta = file.metadata().map_err(fail)?;
    if (meta.dev(), meta.ino()) != (image.dev, image.ino) {
        return Err(HeldError::Busy { path: image.path.clone(), by: "replaced by another file just now".into() });
    }
    Ok(file)
}

/// Names the holder by its own note, else among the caller's processes.
fn busy(image: &Image, kind: Access) -> HeldError {
    let doing = match kind {
        Access::Write => "writing",
        Access::Read => "reading",
    };
    let who = match (holder::read(&image.path), lock::users(image.dev, image.ino).first()) {
        (Some(holder), _) if kind == Access::Write => format!("by {holder}"),
        (_, Some(user)) => format!("perhaps by your process {} ({})", user.pid, user.comm),
        _ => "by an unknown process, perhaps on another node".into(),
    };
    HeldError::Busy { path: image.path.clone(), by: format!("locked for {doing} {who}") }
}

fn trouble(state: State) -> Option<&'static str> {
    match state {
        State { needs_recovery: true, .. } => Some("its journal has not been replayed"),
        State { valid: false, .. } => Some("it was not unmounted cleanly"),
        State { errors: true, .. } => Some("it has recorded errors"),
        State { orphans: true, .. } => Some("it has deleted files that were not yet freed"),
        _ => None,
    }
}
