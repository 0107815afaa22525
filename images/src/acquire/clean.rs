//! Whether a locked image is in order, and putting it in order.

use std::sync::Arc;

use super::automatic_repair::automatic_repair;
use super::error::AcquireError;
use super::locked::LockedImage;
use crate::image::ImageError;
use crate::lock;
use crate::tools::e2fsck::{CORRECTED, Work};
use condatainer_formats::ext::State;
use condatainer_formats::ext::raw::{Fs, state_of};
use condatainer_writer::device::FileDevice;

impl LockedImage {
    /// Makes sure that nothing is left to be replayed or repaired: we replay, and e2fsck repairs, where that was asked for.
    /// True when there was something to do.
    ///
    /// Where the file system has no locks, an image that is not clean may be in use on another node at this moment, and e2fsck
    /// would destroy what is written there. Only its owner can know; `overlay check --fix` takes his word for it.
    pub fn make_clean(&self, replay: bool) -> Result<bool, AcquireError> {
        let Err(dirty) = self.require_clean() else { return Ok(false) };
        self.refuse_silent_users()?;
        if !replay || self.lock_unsupported().is_some() {
            return Err(dirty);
        }
        self.recover();
        if self.require_clean().is_ok() {
            return Ok(true);
        }
        automatic_repair(self, || self.e2fsck(Work::IfNotClean)?.run(CORRECTED))
            .map_err(|error| AcquireError::Tool { path: self.image.path.clone(), error })?;
        self.require_clean().map(|()| true)
    }

    /// Writes what the journal has to its places, and carries out deletions that were begun. What cannot be done is left to e2fsck, which says
    /// more.
    pub(super) fn recover(&self) {
        if let Ok(file) = self.file.try_clone() {
            let _ = condatainer_writer::recover(Arc::new(FileDevice::new(file, self.window)));
        }
    }

    fn require_clean(&self) -> Result<(), AcquireError> {
        match trouble(self.state()?) {
            Some(what) => Err(AcquireError::Dirty { path: self.image.path.clone(), what }),
            None => Ok(()),
        }
    }

    /// What the superblock says about the health of the file system.
    pub fn state(&self) -> Result<State, AcquireError> {
        let fs = Fs::open(&self.file, self.window, u64::MAX)
            .map_err(|e| AcquireError::Image(ImageError::ext(&self.image.path, e)))?;
        Ok(state_of(&fs.sb))
    }

    /// An image that is not clean may be mounted by somebody who does not lock, for instance plain fuse2fs.
    pub(crate) fn refuse_silent_users(&self) -> Result<(), AcquireError> {
        match lock::users(self.image.dev, self.image.ino).first() {
            Some(user) => Err(self.busy_with(format!("open in {}, pid {}", user.comm, user.pid))),
            None => Ok(()),
        }
    }
}

/// What is left to be done before the image may be written, in words.
fn trouble(state: State) -> Option<&'static str> {
    match state {
        State { needs_recovery: true, .. } => Some("its journal has not been replayed"),
        State { valid: false, .. } => Some("it was not unmounted cleanly"),
        State { errors: true, .. } => Some("it has recorded errors"),
        State { orphans: true, .. } => Some("it has deleted files that were not yet freed"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    use std::path::Path;

    use super::*;
    use crate::acquire::Purpose;
    use crate::tools::e2fsprogs;
    use condatainer_formats::ext::raw::{FileType, ROOT_INO};
    use condatainer_formats::ext::{Ids, Window};
    use condatainer_writer::{New, Volume};

    /// An image whose writer was killed: a directory is in its journal alone, and a file that was deleted is still in use.
    fn killed(path: &Path) {
        File::create(path).and_then(|file| file.set_len(8 << 20)).unwrap();
        e2fsprogs::tool("mke2fs").unwrap().args(["-q", "-F", "-t", "ext3"]).arg(path).run(0).unwrap();
        let file = File::options().read(true).write(true).open(path).unwrap();
        file.write_all_at(&[1, 0, 0, 0], 1024 + 0x40).unwrap();
        let volume = Volume::open(Arc::new(FileDevice::new(file, Window::whole(8 << 20)))).unwrap();
        let new = |kind| New { kind, mode: 0o755, ids: Ids::ROOT, device: (0, 0), target: b"", xattrs: &[] };
        volume.make(ROOT_INO, b"kept", &new(FileType::Directory)).unwrap();
        let used = volume.make(ROOT_INO, b"used", &new(FileType::Regular)).unwrap();
        volume.take(used.ino).unwrap();
        volume.remove(ROOT_INO, b"used", false).unwrap();
        volume.commit().unwrap();
    }

    /// The superblock's `s_lastcheck`: e2fsck sets it.
    fn last_checked(path: &Path) -> [u8; 4] {
        let mut seconds = [0; 4];
        File::open(path).unwrap().read_exact_at(&mut seconds, 1024 + 0x40).unwrap();
        seconds
    }

    #[test]
    fn what_a_killed_writer_has_left_needs_no_e2fsck() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("env.img");
        killed(&path);
        let locked = LockedImage::open(&path, Purpose::Change).unwrap();
        let state = locked.state().unwrap();
        assert!(state.needs_recovery, "{state:?}");
        assert!(matches!(locked.make_clean(false), Err(AcquireError::Dirty { .. })));
        assert!(locked.make_clean(true).unwrap());
        assert_eq!(last_checked(&path), [1, 0, 0, 0]);
        assert!(!locked.make_clean(true).unwrap());
        e2fsprogs::tool("e2fsck").unwrap().args(["-f", "-n"]).arg(&path).run(0).unwrap();
        let names = e2fsprogs::tool("debugfs").unwrap().args(["-R", "ls -p /"]).arg(&path).run(0).unwrap();
        let names = String::from_utf8_lossy(&names.stdout);
        assert!(names.contains("/kept/") && !names.contains("/used/"), "{names}");
    }
}
