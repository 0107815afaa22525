//! The whole name of a file, from the descriptor and the path that it was asked for by: one way to write it, whichever way was taken.

use core::ffi::{CStr, c_int};

use crate::freestanding::file::read_link;
use crate::freestanding::path::{decimal, joined};

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
            (_, Ok(descriptor)) => {
                let digits = &mut [0; 20];
                let parts = [DESCRIPTORS, decimal(descriptor as usize, digits)];
                read_link(joined(&mut [0; LINK], &parts)?, room)?
            }
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
