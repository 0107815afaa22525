//! The limit on the size of files (`ulimit -f`). A write behind it ends the process by SIGXFSZ, a FUSE program too, so it must not
//! come to that.

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

/// The limit in bytes, if there is one.
#[must_use]
pub fn get() -> Option<u64> {
    getrlimit(Resource::RLIMIT_FSIZE).ok().map(|(limit, _)| limit).filter(|limit| *limit != RLIM_INFINITY)
}
