//! The guard around all that Slurm and the C library call: a panic that left here would abort slurmstepd.

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::log;

const OK: c_int = 0;

/// Runs a callback's work: its error is logged unless it is empty, its panic caught.
pub(super) fn guarded(failure: c_int, work: impl FnOnce() -> Result<(), String>) -> c_int {
    std::panic::set_hook(Box::new(|_| {}));
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => return OK,
        Ok(Err(message)) if message.is_empty() => {}
        Ok(Err(message)) => log::error(&message),
        Err(_) => log::error("internal error (a panic was caught); please report it"),
    }
    failure
}
