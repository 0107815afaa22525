//! Waiting until something can be read, or some time has passed.

use super::call::call;
use super::numbers::PPOLL;
use super::signals::SET_BYTES;

const POLLIN: i16 = 1;

/// Something that can be read one day: `struct pollfd`.
#[repr(C)]
pub(crate) struct Source {
    descriptor: i32,
    wanted: i16,
    found: i16,
}

impl Source {
    /// Without a descriptor it is not looked at, which a negative number says.
    pub(crate) fn new(descriptor: Option<usize>) -> Self {
        Self { descriptor: descriptor.map_or(-1, |descriptor| descriptor as i32), wanted: POLLIN, found: 0 }
    }

    /// It can be read, or will never be.
    pub(crate) fn is_ready(&self) -> bool {
        self.found != 0
    }
}

/// Waits until one of these is ready, or so many milliseconds have passed.
pub(crate) fn wait(sources: &mut [Source], at_most: Option<u64>) {
    let time = at_most.map(timespec);
    let time = time.as_ref().map_or(0, |time| time.as_ptr() as usize);
    // SAFETY: the sources and the time are alive.
    let _ = unsafe { call(PPOLL, [sources.as_mut_ptr() as usize, sources.len(), time, 0, SET_BYTES, 0]) };
}

/// `struct timespec` of so many milliseconds.
pub(crate) fn timespec(milliseconds: u64) -> [u64; 2] {
    [milliseconds / 1000, milliseconds % 1000 * 1_000_000]
}
