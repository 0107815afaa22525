//! What stands before the C library's functions of these names: the same calls of the kernel, and a little more.

use core::ffi::{CStr, c_char, c_int, c_uint};

use crate::freestanding::call::{call, exit};
use crate::freestanding::numbers::{FCHMODAT, MKDIRAT, STATX};

/// The number of links, which fuse-overlayfs does not ask for.
const STATX_NLINK: c_uint = 4;
const PERMISSIONS: c_uint = 0o7777;

/// `struct statx` of the kernel.
#[repr(C)]
pub(crate) struct Statx {
    until_links: [u32; 4],
    pub(crate) links: u32,
    owner: [u32; 2],
    pub(crate) mode: u16,
    _pad: u16,
    pub(crate) inode: u64,
    until_device: [u64; 3 + 8 + 1],
    pub(crate) device_major: u32,
    pub(crate) device_minor: u32,
    rest: [u64; 14],
}

const _: () = assert!(size_of::<Statx>() == 256);

unsafe extern "C" {
    safe fn __errno_location() -> *mut c_int;
}

/// As a C library's function ends: an answer, or -1 and `errno`.
fn ended(answer: Result<usize, i32>) -> c_int {
    match answer {
        Ok(answer) => answer as c_int,
        Err(error) => {
            // SAFETY: this thread's own errno.
            unsafe { __errno_location().write(error) };
            -1
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn statx(
    directory: c_int,
    path: *const c_char,
    flags: c_int,
    mask: c_uint,
    found: *mut Statx,
) -> c_int {
    let (at, mask) = (directory as usize, (mask | STATX_NLINK) as usize);
    // SAFETY: the caller's promise of statx(2).
    let answer = unsafe { call(STATX, [at, path as usize, flags as usize, mask, found as usize, 0]) };
    // Linux 6.11 takes no path at all for the descriptor itself.
    if answer.is_ok() && !path.is_null() {
        // SAFETY: the kernel has read the path and filled the buffer.
        unsafe { crate::tell_apart(directory, CStr::from_ptr(path), &mut *found) };
    }
    ended(answer)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mkdirat(directory: c_int, path: *const c_char, mode: c_uint) -> c_int {
    let (at, path) = (directory as usize, path as usize);
    // SAFETY: the caller's promise of mkdirat(2).
    let answer = unsafe { call(MKDIRAT, [at, path, mode as usize, 0, 0, 0]) };
    if answer.is_ok() && mode & crate::SET_ID != 0 {
        // SAFETY: the same path. Where it fails, the directory is what it would be without us.
        let _ = unsafe { call(FCHMODAT, [at, path, (mode & PERMISSIONS) as usize, 0, 0, 0]) };
    }
    ended(answer)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(1)
}
