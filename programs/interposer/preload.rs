//! The library that is loaded into fuse-overlayfs, by its environment.

use core::ffi::{CStr, c_char};
use core::ptr;

use crate::freestanding::file::{R_OK, is_accessible};
use crate::freestanding::path::{PATH_MAX, joined};
use crate::start::Started;

/// Beside the links.
const FILE: &[u8] = b"/fuse-overlayfs.so";
const VARIABLE: &[u8] = b"LD_PRELOAD=";
/// So many variables have room, and the null pointer behind them.
const MOST: usize = 4096;

/// The new environment. It must outlive the change of programs.
pub(crate) struct Room {
    variable: [u8; PATH_MAX],
    list: [*const c_char; MOST],
}

impl Room {
    pub(crate) fn new() -> Self {
        Self { variable: [0; PATH_MAX], list: [ptr::null(); MOST] }
    }
}

/// Names the library in front of what is named already. Where it is not there, or there is no room, the program starts without it.
pub(crate) fn load(own: &[u8], started: &mut Started, room: &mut Room) {
    let is_there = joined(&mut [0; PATH_MAX], &[own, FILE]).is_some_and(|file| is_accessible(file, R_OK));
    let named = started.environment().find_map(|variable| variable.strip_prefix(VARIABLE)).unwrap_or_default();
    let colon: &[u8] = if named.is_empty() { b"" } else { b":" };
    let variable = joined(&mut room.variable, &[VARIABLE, own, FILE, colon, named]);
    let (Some(variable), true) = (variable.map(CStr::as_ptr), is_there) else { return };
    let others = started.environment().filter(|other| !other.starts_with(VARIABLE)).map(|other| other.as_ptr().cast());
    let mut count = 0;
    for variable in [variable].into_iter().chain(others) {
        // The last place is the null pointer's.
        let Some(place) = room.list.get_mut(count).filter(|_| count + 1 < MOST) else { return };
        *place = variable;
        count += 1;
    }
    started.environment = room.list.as_ptr();
}
