//! What the interposer asks of the kernel.

use core::ffi::CStr;

use crate::call::{call, execute, number};
use crate::start::Started;

const RT_SIGPROCMASK: usize = number(14, 135);
const SIG_BLOCK: usize = 0;
const SIGNAL_SET_BYTES: usize = 8;

impl Started {
    /// Becomes this file, called by its path; returns only the error number of a failure.
    pub(crate) fn become_file(&mut self, file: &CStr) -> i32 {
        // SAFETY: the first argument's place, or the null pointer's behind none; only the next call reads it.
        unsafe { self.arguments.write(file.as_ptr()) };
        // SAFETY: a path, and the lists that the kernel has handed over.
        unsafe { execute(file.as_ptr(), self.arguments.cast_const(), self.environment) }
    }
}

pub(crate) fn block_signals(signals: &[u32]) {
    let set: u64 = signals.iter().map(|signal| 1 << (signal - 1)).sum();
    // SAFETY: the set is alive, and what was blocked before is not asked for.
    let _ = unsafe { call(RT_SIGPROCMASK, [SIG_BLOCK, &raw const set as usize, 0, SIGNAL_SET_BYTES, 0, 0]) };
}
