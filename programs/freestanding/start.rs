//! The entry of a program without a C library: how it was called, and how it ends.
//!
//! Whoever includes this gives the program `main` and, for a panic, the exit code `BROKEN`.

use core::arch::global_asm;
use core::ffi::{CStr, c_char};

use crate::freestanding::call::exit;

// The kernel starts a program here, and has put what it tells it at the stack pointer.
#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start:", "mov rdi, rsp", "and rsp, -16", "call {}", sym entry);
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x0, sp", "bl {}", sym entry);

/// How the program was called: pointers to its arguments and its environment, each list with a null pointer behind it.
pub(crate) struct Started {
    pub(crate) arguments: *mut *const c_char,
    pub(crate) environment: *const *const c_char,
}

extern "C" fn entry(stack: *mut usize) -> ! {
    // SAFETY: the kernel hands over the number of arguments, the arguments, and the environment (execve(2), System V ABI).
    let (arguments, count) = unsafe { (stack.add(1).cast(), stack.read()) };
    // SAFETY: the same; the null pointer behind the arguments is skipped.
    let environment = unsafe { stack.add(1 + count + 1).cast() };
    exit(crate::main(&mut Started { arguments, environment }))
}

impl Started {
    /// The arguments, the first of which is the name that the program was called by.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &'static [u8]> {
        // SAFETY: the kernel's list.
        unsafe { texts(self.arguments.cast_const()) }
    }

    /// The environment: mostly `NAME=VALUE`, but nobody has made sure.
    pub(crate) fn environment(&self) -> impl Iterator<Item = &'static [u8]> {
        // SAFETY: the kernel's list.
        unsafe { texts(self.environment) }
    }
}

/// # Safety
/// A list that a null pointer ends, of strings that a NUL byte ends and that outlive the program's code.
unsafe fn texts(list: *const *const c_char) -> impl Iterator<Item = &'static [u8]> {
    (0..).map_while(move |at| {
        // SAFETY: the caller's promise; nothing is read behind the null pointer.
        let start = unsafe { list.add(at).read() };
        // SAFETY: the same.
        (!start.is_null()).then(|| unsafe { CStr::from_ptr(start) }.to_bytes())
    })
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(crate::BROKEN)
}
