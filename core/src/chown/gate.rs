//! Getting an image to oneself: open for writing, locked, attached nowhere, and clean.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::libc::{O_CLOEXEC, O_NONBLOCK};

use super::{ChownError, Request};
use crate::e2fsprogs::{self, ToolError};
use crate::ext::raw::{Fs, state_of};
use crate::ext::{State, Window};
use crate::image::{self, Image, Opened};
use crate::lock::{self, Access, Availability, Guard, LockError};

/// An exit code of e2fsck up to this one: errors were corrected.
const CORRECTED: i32 = 1;

/// An image that is ours for as long as this value lives. A dry run only looked whether it could be.
pub(crate) struct Held {
    pub(crate) image: Image,
    pub(crate) file: File,
    pub(crate) window: Window,
    guard: Option<Guard>,
}

impl Held {
    /// Opens and locks the image at `path`.
    pub(crate) fn open(path: &Path, request: &Request) -> Result<Self, ChownError> {
        let opened = image::open(path)?;
        let kind = opened.image.kind.name();
        let window = opened.image.ext_window().ok_or(ChownError::NoOwners { path: path.into(), kind })?;
        let held = if request.dry_run { Self::look(opened, window)? } else { Self::take(opened, window)? };
        held.refuse_loops()?;
        Ok(held)
    }

    fn look(opened: Opened, window: Window) -> Result<Self, ChownError> {
        let Opened { image, file } = opened;
        match lock::query(&file, window, Access::Read) {
            Ok(Availability::Held(kind)) => Err(busy(&image, kind)),
            Ok(_) => Ok(Self { image, file, window, guard: None }),
            Err(error) => Err(ChownError::NotWritable { path: image.path, error }),
        }
    }

    fn take(opened: Opened, window: Window) -> Result<Self, ChownError> {
        let image = opened.image;
        let file = open_for_writing(&image)?;
        match lock::take(&file, window, Access::Write) {
            Ok(guard) => Ok(Self { image, file, window, guard: Some(guard) }),
            Err(LockError::Busy(kind)) => Err(busy(&image, kind)),
            Err(LockError::Io(error)) => Err(ChownError::NotWritable { path: image.path, error }),
        }
    }

    /// Set where the file system that holds the image has no locks.
    pub(crate) fn lock_unsupported(&self) -> Option<Errno> {
        self.guard.as_ref().and_then(|guard| guard.unsupported)
    }

    fn refuse_loops(&self) -> Result<(), ChownError> {
        let attached = lock::loops(self.image.dev, self.image.ino);
        match attached.iter().find(|device| device.touches(self.window)) {
            Some(device) => Err(self.busy_with(format!("attached to /dev/{}", device.name))),
            None => Ok(()),
        }
    }

    fn busy_with(&self, by: String) -> ChownError {
        ChownError::Busy { path: self.image.path.clone(), by }
    }

    /// Makes sure that nothing is left to be replayed or repaired, running e2fsck where that was asked for.
    /// True when e2fsck ran.
    pub(crate) fn make_clean(&self, replay: bool) -> Result<bool, ChownError> {
        let Err(dirty) = self.require_clean() else { return Ok(false) };
        self.refuse_silent_users()?;
        if !replay {
            return Err(dirty);
        }
        self.run_e2fsck().map_err(|error| ChownError::Tool { path: self.image.path.clone(), error })?;
        self.require_clean().map(|()| true)
    }

    fn require_clean(&self) -> Result<(), ChownError> {
        let fs = Fs::open(&self.file, self.window, u64::MAX).map_err(|e| ChownError::ext(&self.image.path, e))?;
        match trouble(state_of(&fs.sb)) {
            Some(what) => Err(ChownError::Dirty { path: self.image.path.clone(), what }),
            None => Ok(()),
        }
    }

    /// An image that is not clean may be mounted by somebody who does not lock, for instance plain fuse2fs.
    fn refuse_silent_users(&self) -> Result<(), ChownError> {
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

fn open_for_writing(image: &Image) -> Result<File, ChownError> {
    let fail = |error| ChownError::NotWritable { path: image.path.clone(), error };
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).custom_flags(O_CLOEXEC | O_NONBLOCK).open(&image.path).map_err(fail)?;
    let meta = file.metadata().map_err(fail)?;
    if (meta.dev(), meta.ino()) != (image.dev, image.ino) {
        return Err(ChownError::Busy { path: image.path.clone(), by: "replaced by another file just now".into() });
    }
    Ok(file)
}

/// Names the holder among the caller's own processes, where that is possible.
fn busy(image: &Image, kind: Access) -> ChownError {
    let doing = match kind {
        Access::Write => "writing",
        Access::Read => "reading",
    };
    let by = match lock::users(image.dev, image.ino).first() {
        Some(user) => format!("locked for {doing}, perhaps by {}, pid {}", user.comm, user.pid),
        None => format!("locked for {doing} by an unknown process"),
    };
    ChownError::Busy { path: image.path.clone(), by }
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
