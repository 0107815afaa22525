//! System calls, in the words of the two architectures that Apptainer is released for; and the two that nearly every program needs.

use core::arch::asm;
use core::ffi::c_char;

use super::errno::EINTR;
use super::numbers::{EXECVE, EXIT_GROUP};

/// The kernel's answer, or an error number.
///
/// # Safety
/// What the call is given to read or to write is alive and large enough.
pub(crate) unsafe fn call(number: usize, [a, b, c, d, e, f]: [usize; 6]) -> Result<usize, i32> {
    let answer: isize;
    // SAFETY: the caller's promise.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!("syscall", inlateout("rax") number => answer, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e,
            in("r9") f, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    // SAFETY: the caller's promise.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") a => answer, in("x1") b, in("x2") c, in("x3") d, in("x4") e,
            in("x5") f, options(nostack));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    compile_error!("programs/freestanding does not know this architecture's system calls yet");
    // No answer is negative, not even an address: the upper half of those is the kernel's.
    if answer < 0 { Err(-answer as i32) } else { Ok(answer as usize) }
}

/// The answer of a call that no signal has cut short.
pub(crate) fn uninterrupted(mut call: impl FnMut() -> Result<usize, i32>) -> Result<usize, i32> {
    loop {
        match call() {
            Err(EINTR) => {}
            answer => return answer,
        }
    }
}

/// Becomes this file; returns only the error number of a failure.
///
/// # Safety
/// A path that a NUL byte ends, and two lists that a null pointer ends, of strings that a NUL byte ends.
pub(crate) unsafe fn execute(
    file: *const c_char,
    arguments: *const *const c_char,
    environment: *const *const c_char,
) -> i32 {
    // SAFETY: the caller's promise.
    let answer = unsafe { call(EXECVE, [file as usize, arguments as usize, environment as usize, 0, 0, 0]) };
    answer.err().unwrap_or_default()
}

pub(crate) fn exit(code: u8) -> ! {
    loop {
        // SAFETY: it reads nothing.
        let _ = unsafe { call(EXIT_GROUP, [code.into(), 0, 0, 0, 0, 0]) };
    }
}
