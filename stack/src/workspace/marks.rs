//! The marks of fuse-overlayfs in a directory of the image become the kernel's, before anybody sees the directory.
//!
//! fuse-overlayfs, which Apptainer runs by hand and on the engine's way, writes an empty file `.wh.NAME` where it cannot make a device 0/0,
//! and `.wh..wh..opq` into an opaque directory. The kernel's OverlayFS knows devices 0/0 and its own attribute only. Both programs understand
//! those. A file of such a name that was not made by fuse-overlayfs is somebody's, and stays.

use std::collections::HashSet;

use condatainer_formats::ext::{FileType, Stat};
use condatainer_formats::overlayfs::{Meaning, is_whiteout, meaning};
use condatainer_writer::{Error, How, New, Result, Volume};
use nix::errno::Errno;
use parking_lot::Mutex;

/// Says for the kernel, where a user has mounted it, that nothing below a directory shows.
pub(super) const OPAQUE: &[u8] = b"user.overlay.opaque";
/// The same where root has mounted it.
pub(super) const OPAQUE_FOR_ROOT: &[u8] = b"trusted.overlay.opaque";
/// The attribute of fuse-overlayfs.
const OPAQUE_OF_FUSE: &[u8] = b"user.fuseoverlayfs.opaque";

/// The directories that have been looked through.
#[derive(Debug, Default)]
pub(super) struct Marks(Mutex<HashSet<u32>>);

impl Marks {
    /// Looks through a directory that was not looked through yet.
    pub(super) fn turn(&self, volume: &Volume, directory: u32) -> Result<()> {
        // Held meanwhile: nobody sees a directory half done.
        let mut seen = self.0.lock();
        if !seen.contains(&directory) {
            turn(volume, directory)?;
            seen.insert(directory);
        }
        Ok(())
    }

    /// A directory that was just made has none.
    pub(super) fn is_new(&self, directory: u32) {
        self.0.lock().insert(directory);
    }
}

fn turn(volume: &Volume, directory: u32) -> Result<()> {
    let mut found = Vec::new();
    volume.list(directory, 0, &mut |listed| {
        if meaning(&listed.name) != Meaning::Itself {
            found.push((listed.name.clone(), listed.ino));
        }
        true
    })?;
    let mut is_opaque = false;
    for (name, ino) in found {
        if !is_of_fuse(&volume.stat(ino)?) {
            continue;
        }
        match meaning(&name) {
            Meaning::Hides(hidden) => hide(volume, directory, &name, hidden)?,
            Meaning::Opaque => {
                volume.set_xattr(directory, OPAQUE, b"y", How::Any)?;
                volume.remove(directory, &name, false)?;
                is_opaque = true;
            }
            Meaning::Itself => {}
        }
    }
    if !is_opaque && volume.xattr(directory, OPAQUE).is_err() {
        let says = |name: &[u8]| volume.xattr(directory, name).is_ok_and(|value| value.starts_with(b"y"));
        if says(OPAQUE_OF_FUSE) || says(OPAQUE_FOR_ROOT) {
            volume.set_xattr(directory, OPAQUE, b"y", How::Any)?;
        }
    }
    Ok(())
}

/// A device 0/0 takes the place of what is hidden, which must not be there, and the file that hid it goes. Killed in between, it is done
/// again.
fn hide(volume: &Volume, directory: u32, mark: &[u8], hidden: &[u8]) -> Result<()> {
    let ids = volume.stat(directory)?.ids;
    let whiteout = New { kind: FileType::CharDevice, mode: 0, ids, device: (0, 0), target: &[], xattrs: &[] };
    match volume.make(directory, hidden, &whiteout) {
        Ok(made) => volume.release(made.ino, 1)?,
        // Made again since: fuse-overlayfs shows that, and so do we.
        Err(Error::Refused(Errno::EEXIST)) => {}
        Err(error) => return Err(error),
    }
    volume.remove(directory, mark, false)
}

/// As [`condatainer_formats::overlayfs::is_of_fuse`].
fn is_of_fuse(stat: &Stat) -> bool {
    let empty = stat.kind == FileType::Regular && stat.size == 0 && stat.mode == 0o700;
    stat.links == 1 && (empty || is_whiteout(stat.kind, stat.device))
}
