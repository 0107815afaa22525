//! The directories that fuse-overlayfs writes to, as it was told at its start: in these, names of one file stay names of one file.

use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::freestanding::file::{self, O_PATH, close};
use crate::name::{self, Name};

/// Room for the arguments; the list of lower directories among them is as long as a page at most.
const ARGUMENTS: usize = 64 << 10;

/// Set once before main(), read after that.
static IS_KNOWN: AtomicBool = AtomicBool::new(false);
static mut UPPER: Directory = Directory { path: [0; name::MOST], length: 0 };
static mut WORK: Directory = Directory { path: [0; name::MOST], length: 0 };
static mut COMMAND_LINE: [u8; ARGUMENTS] = [0; ARGUMENTS];

struct Directory {
    path: [u8; name::MOST],
    length: usize,
}

#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

/// Without these directories it only reads. What was copied up once would then still be one file with the names below.
extern "C" fn before_main() {
    // SAFETY: nothing else runs before main(), and nothing writes to these after it.
    let (upper, work, room) = unsafe { (&mut *&raw mut UPPER, &mut *&raw mut WORK, &mut *&raw mut COMMAND_LINE) };
    let Some(arguments) = file::read(c"/proc/self/cmdline", room) else { return };
    let known = upper.find(b"upperdir=", arguments) && work.find(b"workdir=", arguments);
    IS_KNOWN.store(known, Ordering::Release);
}

/// Whether it is known where fuse-overlayfs writes, which may be nowhere.
pub(crate) fn is_known() -> bool {
    IS_KNOWN.load(Ordering::Acquire)
}

/// Whether this file lies where it writes.
pub(crate) fn holds(name: &Name<'_>) -> bool {
    // SAFETY: they are only read after main() has begun.
    let (upper, work) = unsafe { (&*&raw const UPPER, &*&raw const WORK) };
    upper.holds(name) || work.holds(name)
}

impl Directory {
    /// Finds the option's value, as it stands between commas, and the directory's own path; `false` where there is none at that place.
    fn find(&mut self, option: &[u8], arguments: &mut [u8]) -> bool {
        let Some(at) = arguments.windows(option.len()).position(|place| place == option) else { return true };
        let value = arguments.get_mut(at + option.len()..).unwrap_or_default();
        let Some(end) = value.iter().position(|byte| matches!(byte, b',' | 0)) else { return false };
        let Some(after) = value.get_mut(end).map(|after| core::mem::replace(after, 0)) else { return false };
        let length = CStr::from_bytes_until_nul(value).ok().and_then(|path| self.open(path));
        if let Some(place) = value.get_mut(end) {
            *place = after;
        }
        self.length = length.unwrap_or(0);
        length.is_some()
    }

    fn open(&mut self, path: &CStr) -> Option<usize> {
        let file = file::open(path, O_PATH)?;
        let length = i32::try_from(file).ok().and_then(|file| Some(Name::of(file, c"", &mut self.path)?.bytes().len()));
        close(file);
        length
    }

    fn holds(&self, name: &Name<'_>) -> bool {
        let own = self.path.get(..self.length).filter(|own| !own.is_empty());
        own.and_then(|own| name.bytes().strip_prefix(own)).is_some_and(|rest| rest.starts_with(b"/"))
    }
}
