//! What stands in for a C library: the program's entry, four system calls, and the functions that compiled Rust cannot do without.
//!
//! In the words of the two architectures that Apptainer is released for.

use core::arch::{asm, global_asm};
use core::ffi::{CStr, c_char};

const SIG_BLOCK: usize = 0;
const SIGNAL_SET_BYTES: usize = 8;
const STDERR: usize = 2;

/// The numbers of the system calls.
#[cfg(target_arch = "x86_64")]
mod number {
    pub(super) const WRITE: usize = 1;
    pub(super) const RT_SIGPROCMASK: usize = 14;
    pub(super) const EXECVE: usize = 59;
    pub(super) const EXIT_GROUP: usize = 231;
}
#[cfg(target_arch = "aarch64")]
mod number {
    pub(super) const WRITE: usize = 64;
    pub(super) const EXIT_GROUP: usize = 94;
    pub(super) const RT_SIGPROCMASK: usize = 135;
    pub(super) const EXECVE: usize = 221;
}
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("core/interposer/kernel.rs does not know this architecture's system calls yet");

// The kernel starts a program here, and has put what it tells it at the stack pointer.
#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start:", "mov rdi, rsp", "and rsp, -16", "call {}", sym entry);
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x0, sp", "bl {}", sym entry);

/// How the program was called: pointers to its arguments and its environment, each list with a null pointer behind it.
pub(crate) struct Started {
    arguments: *mut *const c_char,
    environment: *const *const c_char,
}

extern "C" fn entry(stack: *mut usize) -> ! {
    // SAFETY: the kernel hands over the number of arguments, the arguments, and the environment (execve(2), System V ABI).
    let (arguments, count) = unsafe { (stack.add(1).cast(), stack.read()) };
    // SAFETY: the same; the null pointer behind the arguments is skipped.
    let environment = unsafe { stack.add(1 + count + 1).cast() };
    crate::main(&mut Started { arguments, environment });
    exit()
}

impl Started {
    /// The name that the program was called by.
    pub(crate) fn program(&self) -> &'static [u8] {
        // SAFETY: the first argument, or the null pointer behind none.
        unsafe { text(self.arguments.read()) }.unwrap_or_default()
    }

    /// The value of a variable, whose name is given with its `=`; empty where there is none.
    pub(crate) fn variable(&self, name: &[u8]) -> &'static [u8] {
        // SAFETY: up to the null pointer behind the environment.
        let at = |index| unsafe { text(self.environment.add(index).read()) };
        (0..).map_while(at).find_map(|variable| variable.strip_prefix(name)).unwrap_or_default()
    }

    /// Becomes this file, called by its path; returns only the error number of a failure.
    pub(crate) fn become_file(&mut self, file: &CStr) -> usize {
        // SAFETY: the first argument's place, or the null pointer's behind none; only the next call reads it.
        unsafe { self.arguments.write(file.as_ptr()) };
        system_call(number::EXECVE, [file.as_ptr() as usize, self.arguments as usize, self.environment as usize, 0])
    }
}

pub(crate) fn block_signals(signals: &[u32]) {
    let set: u64 = signals.iter().map(|signal| 1 << (signal - 1)).sum();
    system_call(number::RT_SIGPROCMASK, [SIG_BLOCK, &raw const set as usize, 0, SIGNAL_SET_BYTES]);
}

pub(crate) fn say(text: &[u8]) {
    system_call(number::WRITE, [STDERR, text.as_ptr() as usize, text.len(), 0]);
}

fn exit() -> ! {
    loop {
        system_call(number::EXIT_GROUP, [1, 0, 0, 0]);
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit()
}

/// # Safety
/// A string that a NUL byte ends and that outlives the program's code, or a null pointer.
unsafe fn text(start: *const c_char) -> Option<&'static [u8]> {
    // SAFETY: the caller's promise.
    (!start.is_null()).then(|| unsafe { CStr::from_ptr(start) }.to_bytes())
}

/// The kernel's answer, an error number without its sign.
fn system_call(number: usize, [a, b, c, d]: [usize; 4]) -> usize {
    let answer: isize;
    // SAFETY: what the four calls are given to read is alive, and they write nothing.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!("syscall", inlateout("rax") number => answer, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
            lateout("rcx") _, lateout("r11") _, options(nostack));
        #[cfg(target_arch = "aarch64")]
        asm!("svc 0", in("x8") number, inlateout("x0") a => answer, in("x1") b, in("x2") c, in("x3") d, options(nostack));
    }
    answer.unsigned_abs()
}

/// What the compiler calls by these names, as string(3) and memcpy(3), memset(3), memcmp(3) say.
mod library {
    use core::ffi::{c_char, c_int};

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
        // SAFETY: the caller's promise, here and below: there are so many bytes.
        (0..count).for_each(|at| unsafe { to.add(at).write(from.add(at).read()) });
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, byte: c_int, count: usize) -> *mut u8 {
        // SAFETY: as above.
        (0..count).for_each(|at| unsafe { to.add(at).write(byte as u8) });
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, count: usize) -> c_int {
        // SAFETY: as above.
        let difference = |at| unsafe { c_int::from(one.add(at).read()) - c_int::from(other.add(at).read()) };
        (0..count).map(difference).find(|difference| *difference != 0).unwrap_or(0)
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn bcmp(one: *const u8, other: *const u8, count: usize) -> c_int {
        // SAFETY: as above.
        unsafe { memcmp(one, other, count) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn strlen(start: *const c_char) -> usize {
        // SAFETY: the caller's promise: a NUL byte comes.
        (0..).find(|at| unsafe { start.add(*at).read() } == 0).unwrap_or(0)
    }
}
