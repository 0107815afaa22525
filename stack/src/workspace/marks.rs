//! The marks of fuse-overlayfs in a directory of the image become the kernel's, before anybody sees the directory.
//!
//! fuse-overlayfs, which Apptainer runs by hand and on the engine's way, writes an empty file `.wh.NAME` where it cannot make a device 0/0,
//! and `.wh..wh..opq` into an opaque directory. The kernel's OverlayFS knows devices 0/0 and its own attribute only. Both programs understand
//! those. A file of such a name that was not made by fuse-overlayfs is somebody's, and stays.
//!
//! Where nothing can be written any more, a mark is shown as what it would become.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use condatainer_formats::ext::Stat;
use condatainer_formats::overlayfs::{self, Meaning, OWN_FILE, may_be_users, meaning};
use condatainer_writer::{Result, Volume};
use parking_lot::{Condvar, Mutex};

/// Says for the kernel, where a user has mounted it, that nothing below a directory shows.
pub(super) const OPAQUE: &[u8] = b"user.overlay.opaque";
/// The same where root has mounted it, as SingularityCE does.
pub(super) const OPAQUE_FOR_ROOT: &[u8] = b"trusted.overlay.opaque";
/// The attribute of fuse-overlayfs.
const OPAQUE_OF_FUSE: &[u8] = b"user.fuseoverlayfs.opaque";
/// Its file.
const OPAQUE_FILE: &[u8] = b".wh..wh..opq";

/// What is known of the directories.
#[derive(Debug, Default)]
pub(super) struct Marks {
    state: Mutex<State>,
    /// Somebody has looked through a directory.
    looked: Condvar,
    /// Whether there are any that could not be turned.
    left: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// Those that have been looked through.
    seen: HashSet<u32>,
    /// Those that somebody looks through: nobody else sees a directory half done.
    busy: HashSet<u32>,
    /// The marks of those where nothing can be written.
    left: HashMap<u32, Arc<Left>>,
    /// The inodes of all of these marks: each has one name.
    standing: HashSet<u32>,
}

impl State {
    fn leave(&mut self, directory: u32, left: &Arc<Left>) {
        self.standing.extend(left.inodes());
        self.left.insert(directory, Arc::clone(left));
    }

    /// Whether there were any.
    fn forget(&mut self, directory: u32) -> bool {
        let left = self.left.remove(&directory);
        for ino in left.iter().flat_map(|left| left.inodes()) {
            self.standing.remove(&ino);
        }
        left.is_some()
    }
}

/// The marks of a directory that could not be turned.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// By the name that is hidden: the mark's, and its inode.
    marks: HashMap<Vec<u8>, (Vec<u8>, u32)>,
    is_opaque: bool,
}

impl Left {
    fn inodes(&self) -> impl Iterator<Item = u32> {
        self.marks.values().map(|(_, ino)| *ino)
    }

    /// The mark that hides a name, and its inode.
    pub(super) fn of(&self, hidden: &[u8]) -> Option<(&[u8], u32)> {
        self.marks.get(hidden).map(|(mark, ino)| (mark.as_slice(), *ino))
    }

    /// What a mark hides.
    pub(super) fn hidden<'a>(&self, mark: &'a [u8]) -> Option<&'a [u8]> {
        let Meaning::Hides(hidden) = meaning(mark) else { return None };
        self.marks.contains_key(hidden).then_some(hidden)
    }
}

impl Marks {
    /// Looks through a directory that was not looked through yet. What it returns stands for devices 0/0 that are not there.
    pub(super) fn turn(&self, volume: &Volume, directory: u32) -> Result<Option<Arc<Left>>> {
        let mut state = self.state.lock();
        loop {
            if state.seen.contains(&directory) {
                return Ok(state.left.get(&directory).cloned());
            }
            if state.busy.insert(directory) {
                break;
            }
            self.looked.wait(&mut state);
        }
        drop(state);
        let turned = turn(volume, directory);
        let mut state = self.state.lock();
        state.busy.remove(&directory);
        self.looked.notify_all();
        let left = turned?;
        state.seen.insert(directory);
        if left.marks.is_empty() && !left.is_opaque {
            return Ok(None);
        }
        self.left.store(true, Ordering::Relaxed);
        let left = Arc::new(left);
        state.leave(directory, &left);
        Ok(Some(left))
    }

    /// As [`Self::turn`], for who changes something: there may be room by now.
    pub(super) fn turn_again(&self, volume: &Volume, directory: u32) -> Result<Option<Arc<Left>>> {
        if self.left.load(Ordering::Relaxed) {
            let mut state = self.state.lock();
            if state.forget(directory) {
                state.seen.remove(&directory);
            }
        }
        self.turn(volume, directory)
    }

    /// A directory that was just made has none.
    pub(super) fn is_new(&self, directory: u32) {
        let mut state = self.state.lock();
        state.seen.insert(directory);
        state.forget(directory);
    }

    /// Whether something is shown as a device 0/0 that is none yet.
    pub(super) fn stands_for_whiteout(&self, ino: u32) -> bool {
        self.left.load(Ordering::Relaxed) && self.state.lock().standing.contains(&ino)
    }

    /// Whether a directory is opaque for the kernel: it asks for that before it looks into the directory.
    pub(super) fn is_opaque(&self, volume: &Volume, directory: u32) -> Result<bool> {
        let is_left = {
            let state = self.state.lock();
            let is_seen = state.seen.contains(&directory);
            if is_seen { Some(state.left.get(&directory).is_some_and(|left| left.is_opaque)) } else { None }
        };
        Ok(says(volume, directory, OPAQUE) || is_left.map_or_else(|| is_opaque_for_others(volume, directory), Ok)?)
    }
}

fn says(volume: &Volume, directory: u32, name: &[u8]) -> bool {
    volume.xattr(directory, name).is_ok_and(|value| matches!(value.as_slice(), b"y" | b"y\0"))
}

fn is_opaque_for_others(volume: &Volume, directory: u32) -> Result<bool> {
    Ok(says(volume, directory, OPAQUE_OF_FUSE)
        || says(volume, directory, OPAQUE_FOR_ROOT)
        || has_file(volume, directory)?)
}

fn has_file(volume: &Volume, directory: u32) -> Result<bool> {
    let Ok(named) = volume.lookup(directory, OPAQUE_FILE) else { return Ok(false) };
    volume.release(named.ino, 1)?;
    Ok(is_of_fuse(volume, named.ino, &named.stat))
}

fn turn(volume: &Volume, directory: u32) -> Result<Left> {
    let mut found = Vec::new();
    volume.list(directory, 0, &mut |listed| {
        if let Meaning::Hides(hidden) = meaning(&listed.name) {
            found.push((listed.name.clone(), hidden.to_vec(), listed.ino));
        }
        true
    })?;
    let mut left = Left::default();
    let forms = [OPAQUE, OPAQUE_FOR_ROOT].map(|name| says(volume, directory, name));
    let is_opaque = forms[0] || is_opaque_for_others(volume, directory)?;
    for (mark, hidden, ino) in found {
        // One that cannot be read marks nothing.
        if !volume.stat(ino).is_ok_and(|stat| is_of_fuse(volume, ino, &stat)) {
            continue;
        }
        // Nothing lies below an opaque directory, and the kernel would list a device 0/0 there. fuse-overlayfs makes a `.wh..opq` in each.
        let turned = match is_opaque {
            true => volume.make_opaque(directory, &mark, &[]),
            false => volume.turn_into_whiteout(directory, &mark, &hidden),
        };
        // Beside the name itself it hides nothing that would show.
        if turned.is_err() && !exists(volume, directory, &hidden) {
            left.marks.insert(hidden, (mark, ino));
        }
    }
    if is_opaque && (forms != [true; 2] || has_file(volume, directory)?) {
        left.is_opaque = volume.make_opaque(directory, OPAQUE_FILE, &[OPAQUE, OPAQUE_FOR_ROOT]).is_err();
    }
    Ok(left)
}

fn exists(volume: &Volume, directory: u32, name: &[u8]) -> bool {
    volume.lookup(directory, name).is_ok_and(|named| volume.release(named.ino, 1).is_ok())
}

fn is_of_fuse(volume: &Volume, ino: u32, stat: &Stat) -> bool {
    overlayfs::is_of_fuse(stat) && !(may_be_users(Some(stat.kind)) && volume.xattr(ino, OWN_FILE).is_ok())
}
