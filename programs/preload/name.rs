//! The whole name of a file, from the descriptor and the path that it was asked for by: one way to write it, whichever way was taken.

use core::ffi::{CStr, c_int};

use crate::call::{call, number};

const READLINKAT: usize = number(267, 78);
const AT_FDCWD: usize = -100_isize as usize;
/// Room for two of the longest paths that the kernel takes.
pub(crate) const MOST: usize = 2 * 4096;
const DESCRIPTORS: &[u8] = b"/proc/self/fd/";
/// As long as that with ten digits and the zero at its end.
const LINK: usize = DESCRIPTORS.len() + 10 + 1;

/// A path without `.`, empty parts and a slash at its end.
pub(crate) struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// `None` where the descriptor's path cannot be read, or is too long.
    pub(crate) fn of(directory: c_int, path: &CStr, room: &'a mut [u8; MOST]) -> Option<Self> {
        let mut end = match (path.to_bytes().first(), u32::try_from(directory)) {
            (Some(b'/'), _) => 0,
            (_, Ok(descriptor)) => read_link(descriptor_link(&mut [0; LINK], descriptor)?, room)?,
            (_, Err(_)) => read_link(c"/proc/self/cwd", room)?,
        };
        let parts = path.to_bytes().split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
        for part in parts {
            let place = room.get_mut(end..end + 1 + part.len())?;
            let (slash, name) = place.split_first_mut()?;
            *slash = b'/';
            name.copy_from_slice(part);
            end += 1 + part.len();
        }
        room.get(..end).map(Self)
    }

    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// FNV-1a, of 64 bits.
    pub(crate) fn hash(&self) -> u64 {
        self.0.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
    }
}

/// The link to what the descriptor stands for.
fn descriptor_link(room: &mut [u8; LINK], descriptor: u32) -> Option<&CStr> {
    let digits = descriptor.checked_ilog10().map_or(1, |most| most as usize + 1);
    room.get_mut(..DESCRIPTORS.len())?.copy_from_slice(DESCRIPTORS);
    let mut rest = descriptor;
    for place in room.get_mut(DESCRIPTORS.len()..DESCRIPTORS.len() + digits)?.iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    CStr::from_bytes_until_nul(room).ok()
}

/// Where a link leads, at the front of `room`; its length.
fn read_link(link: &CStr, room: &mut [u8]) -> Option<usize> {
    let (from, to) = (link.as_ptr() as usize, room.as_mut_ptr() as usize);
    // SAFETY: both are alive, and the room is so large.
    let length = unsafe { call(READLINKAT, [AT_FDCWD, from, to, room.len(), 0, 0]) }.ok()?;
    // One that fills the room may have been cut off.
    (length < room.len()).then_some(length)
}
