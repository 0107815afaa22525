//! What stands before the C library's functions of these names: the same calls of the kernel, and a little more.

use core::ffi::{CStr, c_char, c_int, c_long, c_uint};

use crate::freestanding::call::{call, exit};
use crate::freestanding::numbers::{CLOSE, FCHMODAT, FTRUNCATE, MKDIRAT, OPENAT, OPENAT2, STATX};

/// The number of links, which fuse-overlayfs does not ask for.
const STATX_NLINK: c_uint = 4;
const PERMISSIONS: c_uint = 0o7777;
const AT_FDCWD: c_int = -100;
/// `O_TRUNC`; the same on both architectures.
const EMPTIED: usize = 0o1000;
/// The descriptor is for reading only, or of something that has no size.
const EINVAL: i32 = 22;

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
fn ended(answer: Result<usize, i32>) -> c_long {
    match answer {
        Ok(answer) => answer as c_long,
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
    ended(answer) as c_int
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
    ended(answer) as c_int
}

/// What open(2) has opened with these flags, empty if that was asked for.
fn emptied(opened: Result<usize, i32>, flags: usize) -> Result<usize, i32> {
    let file = opened?;
    if flags & EMPTIED == 0 {
        return Ok(file);
    }
    // SAFETY: it has no pointer.
    match unsafe { call(FTRUNCATE, [file, 0, 0, 0, 0, 0]) } {
        Err(error) if error != EINVAL => {
            // SAFETY: nobody has been told of it yet.
            let _ = unsafe { call(CLOSE, [file, 0, 0, 0, 0, 0]) };
            Err(error)
        }
        _ => Ok(file),
    }
}

/// The C library's function takes `mode` only where a file may be made. Without it the register holds anything, and the kernel does not
/// look at it.
#[unsafe(no_mangle)]
unsafe extern "C" fn openat64(directory: c_int, path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    let arguments = [directory as usize, path as usize, flags as usize, mode as usize, 0, 0];
    // SAFETY: the caller's promise of openat(2).
    ended(emptied(unsafe { call(OPENAT, arguments) }, flags as usize)) as c_int
}

#[unsafe(no_mangle)]
unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    // SAFETY: the same.
    unsafe { openat64(AT_FDCWD, path, flags, mode) }
}

/// The C library has no function for openat2(2), so fuse-overlayfs calls it by this one. It calls others by it, too.
#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(number: c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> c_long {
    let number = number as usize;
    // SAFETY: the caller's promise of that call.
    let answer = unsafe { call(number, [a, b, c, d, e, f]) };
    if number != OPENAT2 || answer.is_err() {
        return ended(answer);
    }
    // SAFETY: the kernel has read a `struct open_how` there, which begins with the flags.
    let flags = unsafe { (c as *const u64).read_unaligned() };
    ended(emptied(answer, flags as usize))
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(1)
}
