//! The limit on the size of files (`ulimit -f`). A write behind it ends the process by SIGXFSZ, a FUSE program too, so it must not
//! come to that.

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use crate::facts::LayerFacts;
use crate::refusal::Refusal;

/// The limit in bytes, if there is one.
#[must_use]
pub fn get() -> Option<u64> {
    getrlimit(Resource::RLIMIT_FSIZE).ok().map(|(limit, _)| limit).filter(|limit| *limit != RLIM_INFINITY)
}

/// fuse2fs would be killed at its first write behind the limit, and the engine waits for it in vain.
pub(crate) fn check(limit: Option<u64>, writer: Option<&LayerFacts>) -> Result<(), Refusal> {
    let (Some(limit), Some(layer)) = (limit, writer) else { return Ok(()) };
    let size = layer.image.as_ref().map_or(0, |image| image.end);
    if size <= limit { Ok(()) } else { Err(Refusal::FileLimit { path: layer.path.clone(), size, limit }) }
}
