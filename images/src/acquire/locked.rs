//! Getting an image to oneself: open for writing, locked, attached nowhere, and clean.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::libc::{O_CLOEXEC, O_NONBLOCK};

use super::error::AcquireError;
use super::holder::{self, Holder, Published};
use crate::image::{self, Image, ImageError, Opened};
use crate::lock::who::unknown;
use crate::lock::{self, Access, Availability, Guard, LockError, Loop};
use crate::system::file_size_limit;
use crate::tools::open_file::GIVEN_FILE;
use crate::tools::run::Tool;
use crate::tools::{ToolError, e2fsck, e2fsprogs};
use condatainer_formats::ext::Window;

/// What the image is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be changed: nobody else may have it.
    Change,
    /// To be read while it stays as it is: shared with other readers, and no writer may come meanwhile.
    Read,
    /// To see whether it could be changed; takes no lock.
    Look,
}

/// An image that is ours, or that nobody changes, for as long as this value lives. A dry run only looked whether it could be.
pub struct LockedImage {
    // Dropped before the lock: a note without a lock would be a lie.
    note: Option<Published>,
    purpose: Purpose,
    /// What it is, read under the lock.
    pub image: Image,
    /// The file that is locked; open for writing where it is to be changed.
    pub file: File,
    /// Where in it the ext file system lies; this range is locked.
    pub window: Window,
    guard: Option<Guard>,
}

impl LockedImage {
    /// Opens and locks the image at `path`.
    pub fn open(path: &Path, purpose: Purpose) -> Result<Self, AcquireError> {
        let opened = image::open(path)?;
        let window = window_of(&opened.image)?;
        let locked = match purpose {
            Purpose::Look => Self::look(opened, window)?,
            Purpose::Read => Self::share(opened, window)?,
            Purpose::Change => Self::take(&opened.image, window)?,
        };
        locked.refuse_loops(purpose)?;
        Ok(locked)
    }

    fn look(opened: Opened, window: Window) -> Result<Self, AcquireError> {
        let Opened { image, file } = opened;
        match lock::query(&file, window, Access::Read) {
            Ok(Availability::Held(kind)) => Err(busy(&image, &file, window, kind)),
            Ok(_) => Ok(Self { note: None, purpose: Purpose::Look, image, file, window, guard: None }),
            Err(error) => Err(AcquireError::NotLockable { path: image.path, error }),
        }
    }

    /// As [`LockedImage::take`], but readers may go on.
    fn share(opened: Opened, window: Window) -> Result<Self, AcquireError> {
        let Opened { image: seen, file } = opened;
        let guard = lock(&seen, &file, window, Access::Read)?;
        Self::read(&seen.path, file)?.locked(guard, Purpose::Read, &seen, window)
    }

    /// What was read before the lock, `seen`, served to find the range to lock and for nothing else.
    fn take(seen: &Image, window: Window) -> Result<Self, AcquireError> {
        let (file, size) = (open_for_writing(&seen.path)?, window.offset.saturating_add(window.size));
        if let Some(limit) = file_size_limit::get().filter(|limit| *limit < size) {
            return Err(AcquireError::FileLimit { path: seen.path.clone(), size, limit });
        }
        let guard = lock(seen, &file, window, Access::Write)?;
        Self::read(&seen.path, file)?.locked(guard, Purpose::Change, seen, window)
    }

    /// Under its lock an image must still be what was seen before.
    fn locked(self, guard: Guard, purpose: Purpose, seen: &Image, window: Window) -> Result<Self, AcquireError> {
        let locked = Self { guard: Some(guard), purpose, ..self };
        if locked.window != window || !locked.image.is_still_at(&seen.path) {
            return Err(locked.busy_with("replaced by another file just now".into()));
        }
        Ok(locked)
    }

    fn read(path: &Path, file: File) -> Result<Self, AcquireError> {
        let image = image::identify_file(path, &file)?;
        let window = window_of(&image)?;
        Ok(Self { note: None, purpose: Purpose::Look, image, file, window, guard: None })
    }

    /// A copy of the image at `path` in `file`, for work on it before it takes the image's place. Its lock is its draft's.
    pub(crate) fn copy_of(path: &Path, file: File) -> Result<Self, AcquireError> {
        Self::read(path, file)
    }

    /// Goes on with the file that has taken the image's place, and lets go of the one that was there.
    pub(crate) fn go_on_with(&mut self, file: File, guard: Guard) -> Result<(), AcquireError> {
        let now = Self::read(&self.image.path, file)?;
        *self = Self { note: self.note.take(), purpose: self.purpose, guard: Some(guard), ..now };
        Ok(())
    }

    /// Lets those who come second know what holds the image: `verb`. At once and not only when it takes long, for the note costs
    /// a tenth of a millisecond on a local disk; a start that meets it waits a moment, because such work is soon over. Who only
    /// reads leaves no note: there may be many, and none is in the way of another.
    pub(crate) fn announce(mut self, verb: &str) -> Self {
        if self.purpose == Purpose::Change {
            let holder = Holder { verb: Some(verb.into()), ..Holder::current() };
            self.note = Published::new(&self.image.path, &holder).ok();
        }
        self
    }

    /// The image, its file, and what keeps it locked, for who goes on with them.
    #[must_use]
    pub fn into_parts(self) -> (Image, File, Option<Guard>) {
        (self.image, self.file, self.guard)
    }

    /// Set where the file system that holds the image has no locks.
    pub fn lock_unsupported(&self) -> Option<Errno> {
        self.guard.as_ref().and_then(|guard| guard.unsupported)
    }

    /// Whether somebody else reads it too. A lock for reading that is our own is not in the way of the question.
    pub(crate) fn has_readers(&self) -> bool {
        let answer = lock::query(&self.file, self.window, Access::Write);
        matches!(answer, Ok(Availability::Held(_))) || self.loops().iter().any(|device| device.read_only)
    }

    fn loops(&self) -> Vec<Loop> {
        let attached = lock::loops(self.image.dev, self.image.ino).into_iter();
        attached.filter(|device| device.touches(self.window)).collect()
    }

    /// A reader can share an image with a device that cannot be written through.
    pub(crate) fn refuse_loops(&self, purpose: Purpose) -> Result<(), AcquireError> {
        let in_the_way = |device: &&Loop| purpose != Purpose::Read || !device.read_only;
        match self.loops().iter().find(in_the_way) {
            Some(device) => Err(self.busy_with(format!("attached to /dev/{}", device.name))),
            None => Ok(()),
        }
    }

    pub(super) fn busy_with(&self, by: String) -> AcquireError {
        AcquireError::Busy { path: self.image.path.clone(), by }
    }

    /// A command for a tool of e2fsprogs that works on [`LockedImage::tools_name`]. The lock lives on in a tool that survives us.
    pub(crate) fn tool(&self, tool: &'static str) -> Result<Tool, ToolError> {
        let mut tool = e2fsprogs::tool(tool)?;
        tool.on(&self.file)?;
        Ok(tool)
    }

    /// As [`LockedImage::tool`], e2fsck with its arguments.
    pub(crate) fn e2fsck(&self, work: e2fsck::Work) -> Result<Tool, ToolError> {
        e2fsck::on(&self.file, &self.tools_name(), work)
    }

    /// What the file system is called in a command made by [`LockedImage::tool`].
    pub(crate) fn tools_name(&self) -> String {
        match self.window.offset {
            0 => GIVEN_FILE.into(),
            offset => format!("{GIVEN_FILE}?offset={offset}"),
        }
    }
}

fn window_of(image: &Image) -> Result<Window, AcquireError> {
    image.ext_window().ok_or_else(|| AcquireError::NoExt { path: image.path.clone(), kind: image.kind.name() })
}

fn open_for_writing(path: &Path) -> Result<File, AcquireError> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).custom_flags(O_CLOEXEC | O_NONBLOCK).open(path);
    file.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => AcquireError::Image(ImageError::io(path, error)),
        _ => AcquireError::NotWritable { path: path.into(), error },
    })
}

/// A start whose engine is going to lock it is not overtaken.
fn lock(image: &Image, file: &File, window: Window, wanted: Access) -> Result<Guard, AcquireError> {
    let taken = lock::take_turn(file, wanted).and_then(|_turn| lock::take(file, window, wanted));
    taken.map_err(|error| match error {
        LockError::Busy(kind) => busy(image, file, window, kind),
        LockError::Io(error) => AcquireError::NotLockable { path: image.path.clone(), error },
    })
}

/// Names the holder by its own note, else by what this node tells.
fn busy(image: &Image, file: &File, window: Window, kind: Access) -> AcquireError {
    let doing = match kind {
        Access::Write => "writing",
        Access::Read => "reading",
    };
    let who = match holder::read(&image.path).filter(|_| kind == Access::Write) {
        Some(holder) => holder.to_string(),
        None => lock::who(&image.path, file, window, Access::Write).unwrap_or_else(|| unknown(&image.path)),
    };
    AcquireError::Busy { path: image.path.clone(), by: format!("locked for {doing} by {who}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn make(path: &Path, megabytes: u64) {
        File::create(path).and_then(|file| file.set_len(megabytes << 20)).unwrap();
        e2fsprogs::tool("mke2fs").unwrap().args(["-q", "-F", "-t", "ext3"]).arg(path).run(0).unwrap();
    }

    /// Takes an image that was seen, after `meanwhile`.
    fn take_after(meanwhile: impl FnOnce(&Path)) -> Result<LockedImage, AcquireError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("env.img");
        make(&path, 8);
        let seen = image::identify(&path).unwrap();
        meanwhile(&path);
        LockedImage::take(&seen, seen.ext_window().unwrap())
    }

    #[test]
    fn what_was_read_before_the_lock_is_read_again() {
        let changed = |path: &Path| {
            e2fsprogs::tool("tune2fs").unwrap().args(["-O", "^has_journal"]).arg(path).run(0).unwrap();
        };
        let locked = take_after(changed).unwrap();
        assert_eq!(locked.image.kind.name(), "ext2");
        let same_size = take_after(|path| {
            fs::remove_file(path).unwrap();
            make(path, 8);
        });
        assert!(same_size.is_ok_and(|locked| locked.guard.is_some()));
    }

    /// No file system without locks can be had for a test.
    #[test]
    fn nothing_is_repaired_where_no_lock_tells_whether_it_is_used() {
        let mark_unclean = |path: &Path| {
            e2fsprogs::tool("debugfs").unwrap().args(["-w", "-R", "ssv state 0"]).arg(path).run(0).unwrap();
        };
        let mut locked = take_after(mark_unclean).unwrap();
        locked.guard.as_mut().unwrap().unsupported = Some(Errno::ENOLCK);
        assert!(matches!(locked.make_clean(true), Err(AcquireError::Dirty { .. })));
        locked.guard.as_mut().unwrap().unsupported = None;
        assert!(locked.make_clean(true).unwrap());
    }

    #[test]
    fn a_file_that_is_another_by_now_is_refused() {
        let told = |result: Result<LockedImage, AcquireError>| result.err().unwrap().to_string();
        let grown = told(take_after(|path| {
            fs::remove_file(path).unwrap();
            make(path, 9);
        }));
        assert!(grown.contains("is in use (replaced by another file just now)"), "{grown}");
        assert!(told(take_after(|path| fs::write(path, "text").unwrap())).contains("is a text file"));
        assert!(told(take_after(|path| fs::remove_file(path).unwrap())).contains("no such file"));
    }
}
