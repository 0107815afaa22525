//! The end of srun, whose exit code is the tasks'. slurmstepd has taken their codes before their container ends, and has no place for
//! another one; so that what they wrote is lost can be said by srun alone.
//!
//! glibc calls the handler before srun's own one, which unloads the plugins: that was set earlier, right after they were loaded.

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;

use super::guard::guarded;
use super::{log, state};
use condatainer_core::run::exit_code::WRITES_LOST;

const SUCCESS: c_int = 0;
const FAILED: c_int = -1;

unsafe extern "C" {
    /// As atexit(3); the handler is told the exit code (on_exit(3)).
    fn on_exit(handler: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
}

/// Whether the images are looked at when this process exits, from now on.
pub(super) fn is_watched() -> bool {
    static WATCHED: OnceLock<bool> = OnceLock::new();
    // SAFETY: the handler takes what glibc passes, and stays where it is.
    *WATCHED.get_or_init(|| is_kept_in_memory() && unsafe { on_exit(at_end, std::ptr::null_mut()) } == 0)
}

/// Whoever unloads the plugin, the handler's code stays.
fn is_kept_in_memory() -> bool {
    let mut found = std::mem::MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: the address of a function of this file, and room for the answer.
    let answer = unsafe { libc::dladdr(at_end as *const c_void, found.as_mut_ptr()) };
    if answer == 0 {
        return false;
    }
    let flags = libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE;
    // SAFETY: dladdr has filled it in, with the name under which this file was loaded. The handle is never closed.
    !unsafe { libc::dlopen(found.assume_init().dli_fname, flags) }.is_null()
}

/// srun has all of its tasks' codes, and with its last task the container of a step has ended. A code that tells of a failure stays.
extern "C" fn at_end(code: c_int, _: *mut c_void) {
    if code != SUCCESS {
        return;
    }
    let mut is_lost = false;
    let judged = guarded(FAILED, || {
        for written in state::with(|state| std::mem::take(&mut state.written)) {
            if let Some(line) = written.lost() {
                is_lost = true;
                log::error(&line);
            }
        }
        Ok(())
    });
    if judged == SUCCESS && is_lost {
        // SAFETY: glibc allows it in a handler: the other ones follow, with this code. No destructor is skipped here.
        unsafe { libc::exit(WRITES_LOST.into()) };
    }
}
