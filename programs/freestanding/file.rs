//! Files, by their paths and descriptors.

use core::ffi::CStr;

use super::call::call;
use super::numbers::{CLOSE, FACCESSAT, OPENAT, READ, READLINKAT};

/// A relative path starts from the working directory.
pub(crate) const AT_FDCWD: usize = -100_isize as usize;
pub(crate) const O_WRONLY: usize = 1;
pub(crate) const O_RDWR: usize = 2;
pub(crate) const O_CLOEXEC: usize = 0o2_000_000;
pub(crate) const O_PATH: usize = 0o10_000_000;
pub(crate) const F_OK: usize = 0;
pub(crate) const R_OK: usize = 4;

/// A descriptor that no other program inherits.
pub(crate) fn open(path: &CStr, how: usize) -> Option<usize> {
    // SAFETY: the path is alive.
    unsafe { call(OPENAT, [AT_FDCWD, path.as_ptr() as usize, how | O_CLOEXEC, 0, 0, 0]) }.ok()
}

pub(crate) fn close(file: usize) {
    // SAFETY: it reads nothing, and the descriptor is not used any more.
    let _ = unsafe { call(CLOSE, [file, 0, 0, 0, 0, 0]) };
}

/// What comes next in a file, at the front of `room`: how much. None at its end, and where it cannot be read.
pub(crate) fn read_next(file: usize, room: &mut [u8]) -> usize {
    // SAFETY: the room is alive, and so large.
    unsafe { call(READ, [file, room.as_mut_ptr() as usize, room.len(), 0, 0, 0]) }.unwrap_or(0)
}

/// All of a file that has room; `None` where it cannot be opened.
pub(crate) fn read<'a>(path: &CStr, room: &'a mut [u8]) -> Option<&'a mut [u8]> {
    let file = open(path, 0)?;
    let mut end = 0;
    while let Some(rest) = room.get_mut(end..).filter(|rest| !rest.is_empty()) {
        match read_next(file, rest) {
            0 => break,
            count => end += count,
        }
    }
    close(file);
    room.get_mut(..end)
}

/// Where a link leads, at the front of `room`: its length. None of one that fills the room, as that may have been cut off.
pub(crate) fn read_link(link: &CStr, room: &mut [u8]) -> Option<usize> {
    let (from, to) = (link.as_ptr() as usize, room.as_mut_ptr() as usize);
    // SAFETY: both are alive, and the room is so large.
    let length = unsafe { call(READLINKAT, [AT_FDCWD, from, to, room.len(), 0, 0]) }.ok()?;
    (length < room.len()).then_some(length)
}

/// Whether a file is there, and can be accessed like this.
pub(crate) fn is_accessible(path: &CStr, how: usize) -> bool {
    // SAFETY: the path is alive.
    unsafe { call(FACCESSAT, [AT_FDCWD, path.as_ptr() as usize, how, 0, 0, 0]) }.is_ok()
}
